//! Loops of teams: every item once, whatever the members do.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    thread,
};

use ferrane_team::{each, each_of, gather};

fn in_pool<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

fn counts(items: usize) -> Vec<AtomicU32> {
    (0..items).map(|_| AtomicU32::new(0)).collect()
}

#[test]
fn every_item_is_done_once_in_every_loop() {
    for threads in [1, 2, 3, 8] {
        in_pool(threads, || {
            gather(threads, || {
                for items in (0..200).chain([10_000]) {
                    let counts = counts(items);
                    each(items, |_, item| {
                        counts[item].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(
                        counts.iter().all(|n| n.load(Ordering::Relaxed) == 1),
                        "{threads} threads, {items} items"
                    );
                }
            });
        });
    }
}

#[test]
fn a_member_is_at_one_item_at_a_time() {
    in_pool(4, || {
        let busy = [const { AtomicUsize::new(0) }; 4];
        gather(4, || {
            for _ in 0..500 {
                each(64, |member, _| {
                    assert_eq!(busy[member].fetch_add(1, Ordering::SeqCst), 0);
                    busy[member].fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
    });
}

#[test]
fn what_items_write_is_there_when_the_loop_ends() {
    let mut numbers = vec![0u64; 1000];
    gather(4, || {
        for round in 1..=200 {
            each_of(numbers.chunks_mut(7), |_, part| part.iter_mut().for_each(|n| *n += round));
            assert!(numbers.iter().all(|&n| n == round * (round + 1) / 2), "round {round}");
        }
    });
}

#[test]
fn loops_within_items_and_teams_within_teams_are_run_where_they_are() {
    let sum = AtomicUsize::new(0);
    gather(3, || {
        gather(2, || {
            each(10, |_, _| {
                gather(5, || each(10, |member, _| assert_eq!(member, 0)));
                sum.fetch_add(1, Ordering::Relaxed);
            });
        });
    });
    assert_eq!(sum.into_inner(), 10);
}

#[test]
fn leaders_on_many_threads_do_not_wait_for_each_other() {
    in_pool(2, || {
        rayon::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|_| {
                    gather(2, || {
                        for _ in 0..200 {
                            let done = AtomicUsize::new(0);
                            each(9, |_, _| {
                                done.fetch_add(1, Ordering::Relaxed);
                            });
                            assert_eq!(done.into_inner(), 9);
                        }
                    });
                });
            }
        });
    });
}

#[test]
fn a_panic_reaches_the_leader_and_leaves_a_usable_team() {
    in_pool(3, || {
        gather(3, || {
            for unlucky in 0..30 {
                let result = panic::catch_unwind(AssertUnwindSafe(|| {
                    each(30, |_, item| {
                        assert!(item != unlucky, "item {item}");
                        thread::yield_now();
                    });
                }));
                let message = *result.unwrap_err().downcast::<String>().unwrap();
                assert_eq!(message, format!("item {unlucky}"));
                let seen = Mutex::new(Vec::new());
                each(30, |_, item| seen.lock().unwrap().push(item));
                let mut seen = seen.into_inner().unwrap();
                seen.sort_unstable();
                assert_eq!(seen, (0..30).collect::<Vec<_>>());
            }
        });
    });
}
