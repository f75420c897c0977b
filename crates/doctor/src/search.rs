//! Limits by trial.

use crate::finding::{Found, Measured, Sharpness, Trouble};

/// The last of ascending numbers that an engine takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// It takes this many and not one more.
    At(u64),
    /// It takes all that were tried, of which this is the last.
    Beyond(u64),
}

impl Limit {
    /// The limit as a finding.
    pub(crate) fn finding(self, key: &str) -> Found {
        match self {
            Limit::At(n) => Found::default().with(key, Measured::Count(n), Sharpness::Exact),
            Limit::Beyond(n) => Found::default()
                .with(key, Measured::Count(n), Sharpness::AtLeast)
                .note(format!("no limit up to {n}, the largest tried")),
        }
    }

    /// The limit as a finding only where there is one: profiles say nothing of limits that are not known.
    pub(crate) fn finding_if_any(self, key: &str) -> Found {
        match self {
            Limit::At(_) => self.finding(key),
            Limit::Beyond(n) => Found::default().note(format!("no limit up to {n}, the largest tried")),
        }
    }
}

/// The largest number that `taken` takes, if what it takes ends somewhere. `ladder` is ascending. Published limits belong on
/// it: a limit that is a rung costs two refusals, and many refusals in a row are known to make compilers slow.
pub(crate) fn largest(
    ladder: &[u64],
    mut taken: impl FnMut(u64) -> Result<bool, Trouble>,
) -> Result<Limit, Trouble> {
    let mut last = None;
    for &rung in ladder {
        if taken(rung)? {
            last = Some(rung);
            continue;
        }
        let Some(last) = last else {
            return Err(Trouble::Unclear(format!("not even {rung} is taken")));
        };
        return Ok(Limit::At(between(last, rung, &mut taken)?));
    }
    last.map(Limit::Beyond).ok_or_else(|| Trouble::Unclear("nothing was tried".into()))
}

/// The largest number that is taken, given one that is and a greater one that is not.
fn between(
    mut yes: u64,
    mut no: u64,
    taken: &mut impl FnMut(u64) -> Result<bool, Trouble>,
) -> Result<u64, Trouble> {
    let mut middle = yes + 1;
    while yes + 1 < no {
        if taken(middle)? {
            yes = middle;
        } else {
            no = middle;
        }
        middle = yes.midpoint(no);
    }
    Ok(yes)
}

/// The smallest number that `taken` takes. `ladder` is descending.
pub(crate) fn smallest(
    ladder: &[u64],
    mut taken: impl FnMut(u64) -> Result<bool, Trouble>,
) -> Result<u64, Trouble> {
    let top = ladder.first().copied().unwrap_or_default();
    let mirrored: Vec<u64> = ladder.iter().map(|rung| top - rung).collect();
    match largest(&mirrored, |n| taken(top - n))? {
        Limit::At(n) | Limit::Beyond(n) => Ok(top - n),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_found_wherever_they_are_and_cheaply_on_a_rung() {
        for limit in 3..=70 {
            let mut refusals = 0;
            let found = largest(&[3, 8, 16, 64, 80], |n| {
                refusals += u32::from(n > limit);
                Ok(n <= limit)
            });
            assert_eq!(found.unwrap(), Limit::At(limit));
            assert!(refusals <= if [8, 16, 64].contains(&limit) { 2 } else { 7 }, "{limit}: {refusals}");
        }
        assert_eq!(largest(&[3, 8], |_| Ok(true)).unwrap(), Limit::Beyond(8));
        assert!(largest(&[3, 8], |_| Ok(false)).unwrap_err().to_string().contains("not even 3"));
        for least in 1..=64 {
            assert_eq!(smallest(&[64, 32, 16, 1], |n| Ok(n >= least)).unwrap(), least);
        }
    }
}
