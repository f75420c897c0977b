//! Which items of a loop are still to be done.

use std::sync::atomic::{AtomicU64, Ordering};

/// A member's share of a loop's items, `first..end`: its owner takes from the front, others from the back. So each member
/// mostly meets the same part of every loop, which is in its cache, and none waits while there are items.
#[derive(Default)]
#[repr(align(64))]
pub(crate) struct Share(AtomicU64);

impl Share {
    pub(crate) fn set(&self, first: u32, end: u32) {
        self.0.store(pack(first, end), Ordering::Relaxed);
    }

    pub(crate) fn clear(&self) {
        self.set(0, 0);
    }

    /// The owner's next item.
    pub(crate) fn first(&self) -> Option<u32> {
        self.take(|first, end| (first, pack(first + 1, end)))
    }

    /// An item for another member.
    pub(crate) fn last(&self) -> Option<u32> {
        self.take(|first, end| (end - 1, pack(first, end - 1)))
    }

    /// Takes an item, given with what is left, if there is one. Nothing is published by it: what items write is seen once
    /// the loop is closed.
    fn take(&self, item: impl Fn(u32, u32) -> (u32, u64)) -> Option<u32> {
        let rest = |share| {
            let (first, end) = unpack(share);
            (first < end).then(|| item(first, end).1)
        };
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest).ok()?;
        let (first, end) = unpack(taken);
        Some(item(first, end).0)
    }
}

fn pack(first: u32, end: u32) -> u64 {
    u64::from(first) << 32 | u64::from(end)
}

fn unpack(share: u64) -> (u32, u32) {
    ((share >> 32) as u32, share as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_from_both_ends_until_they_meet() {
        let share = Share::default();
        assert_eq!(share.first(), None);
        share.set(3, 6);
        assert_eq!([share.first(), share.last(), share.last()], [Some(3), Some(5), Some(4)]);
        assert_eq!([share.first(), share.last()], [None, None]);
    }
}
