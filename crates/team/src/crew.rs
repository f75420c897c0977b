//! The members of a team and the loop at hand.

use std::{
    any::Any,
    hint,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{AT_WORK, shares::Share};

/// How long a member waits for the next loop before it goes back to the pool.
pub const PATIENCE: Duration = Duration::from_micros(500);

/// Looks at the next loop between which a waiting thread does not give way to others: some ten microseconds.
const LOOKS: u32 = 200;

type Body<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// The leader, member 0, and threads of the pool that joined it.
pub(crate) struct Crew {
    /// A share a member.
    shares: Box<[Share]>,
    desk: Mutex<Desk>,
    /// Number of loops opened so far.
    loops: AtomicU64,
    /// Members besides the leader that are at the open loop.
    inside: AtomicUsize,
    dismissed: AtomicBool,
}

/// What members agree on under a lock.
struct Desk {
    /// The open loop.
    body: Option<&'static Body<'static>>,
    /// Numbers of members that nobody has been asked to be.
    free: Vec<usize>,
    /// What the first member that panicked at the open loop said.
    panic: Option<Box<dyn Any + Send>>,
}

impl Crew {
    /// A team of at most `members`, with the leader alone to begin with.
    pub(crate) fn new(members: usize) -> Self {
        let members = members.max(1);
        Self {
            shares: (0..members).map(|_| Share::default()).collect(),
            desk: Mutex::new(Desk { body: None, free: (1..members).collect(), panic: None }),
            loops: AtomicU64::new(0),
            inside: AtomicUsize::new(0),
            dismissed: AtomicBool::new(false),
        }
    }

    /// Sends the members home.
    pub(crate) fn dismiss(&self) {
        self.dismissed.store(true, Ordering::Release);
    }

    /// Calls `body` for all items, as the leader.
    pub(crate) fn share_out(self: &Arc<Self>, items: usize, body: &Body<'_>) {
        let members = self.shares.len();
        if members == 1 || u32::try_from(items).is_err() {
            return at_work(|| (0..items).for_each(|item| body(0, item)));
        }
        for (member, share) in self.shares.iter().enumerate() {
            let cut = |m: usize| (items * m / members) as u32;
            share.set(cut(member), cut(member + 1));
        }
        let open = Open::new(self, body);
        self.work(0, body);
        drop(open);
        if let Some(payload) = self.desk().panic.take() {
            panic::resume_unwind(payload);
        }
    }

    /// Does items until none is left: the member's own, then those of the next members.
    fn work(&self, member: usize, body: &Body<'_>) {
        let others = (1..self.shares.len()).map(|step| (member + step) % self.shares.len());
        at_work(|| {
            while let Some(item) = self.shares[member].first() {
                body(member, item as usize);
            }
            for other in others {
                while let Some(item) = self.shares[other].last() {
                    body(member, item as usize);
                }
            }
        });
    }

    /// Joins as `member`, until there is nothing to do for a while.
    fn help(&self, member: usize) {
        let mut seen = 0;
        while self.wait_for_a_loop_after(seen) {
            let desk = self.desk();
            seen = self.loops.load(Ordering::Relaxed);
            let Some(body) = desk.body else { continue };
            self.inside.fetch_add(1, Ordering::Relaxed);
            drop(desk);
            let done = panic::catch_unwind(AssertUnwindSafe(|| self.work(member, body)));
            if let Err(payload) = done {
                self.shares.iter().for_each(Share::clear);
                self.desk().panic.get_or_insert(payload);
            }
            self.inside.fetch_sub(1, Ordering::Release);
        }
        self.desk().free.push(member);
    }

    /// Waits for another loop than the one of this number; false when it is time to leave.
    fn wait_for_a_loop_after(&self, seen: u64) -> bool {
        let mut since = None;
        loop {
            for _ in 0..LOOKS {
                if self.loops.load(Ordering::Acquire) != seen {
                    return true;
                }
                hint::spin_loop();
            }
            let patient = since.get_or_insert_with(Instant::now).elapsed() < PATIENCE;
            if !patient || self.dismissed.load(Ordering::Acquire) {
                return false;
            }
            thread::yield_now();
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A loop that members may enter. Dropping it closes it, and returns once all have left.
struct Open<'a>(&'a Crew);

impl<'a> Open<'a> {
    fn new(crew: &'a Arc<Crew>, body: &Body<'_>) -> Self {
        #[allow(
            unsafe_code,
            reason = "members are threads that outlive the loop, and know its body only while it is open"
        )]
        // SAFETY: the lifetime is the only difference. Members find the body on the desk while the loop is open, and count
        // themselves in under the same lock; the loop is closed, and all of them have left, before `share_out` returns or
        // unwinds, because dropping this value does both.
        let body = unsafe { std::mem::transmute::<&Body<'_>, &'static Body<'static>>(body) };
        let mut desk = crew.desk();
        desk.body = Some(body);
        let wanted = std::mem::take(&mut desk.free);
        crew.loops.fetch_add(1, Ordering::Release);
        drop(desk);
        for member in wanted {
            let crew = Arc::clone(crew);
            rayon::spawn(move || crew.help(member));
        }
        Self(crew)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let Self(crew) = self;
        // Nothing is left to do unless the leader's item panicked.
        crew.shares.iter().for_each(Share::clear);
        crew.desk().body = None;
        let mut looks = 0;
        while crew.inside.load(Ordering::Acquire) > 0 {
            looks += 1;
            match looks % LOOKS {
                0 => thread::yield_now(),
                _ => hint::spin_loop(),
            }
        }
    }
}

/// Runs `work` as part of an item.
fn at_work(work: impl FnOnce()) {
    /// Back to what it was, however `work` ends.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            AT_WORK.set(self.0);
        }
    }
    let _before = Before(AT_WORK.replace(true));
    work();
}
