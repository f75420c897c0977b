//! What can happen: every plot is a series of paragraphs, every paragraph a series of beats, and every
//! beat a choice of phrasings in the language of [`super::grammar`].

mod courage;
mod finding;
mod kindness;
mod learning;
mod making;

/// The phrasings of one step of a story. An empty phrasing leaves the step out.
pub(super) type Beat = &'static [&'static str];
/// Slots that belong together in one telling of a plot, over those of people and setting.
pub(super) type Case = &'static [(&'static str, &'static str)];

/// A schema of stories.
#[derive(Debug)]
pub(super) struct Plot {
    /// Used in tests' messages.
    #[cfg_attr(not(test), allow(dead_code, reason = "names a plot when a test fails"))]
    pub(super) name: &'static str,
    /// One is chosen; at least one.
    pub(super) cases: &'static [Case],
    /// The beats of each paragraph, in order.
    pub(super) paragraphs: &'static [&'static [Beat]],
}

/// All plots; each is as likely as any other.
pub(super) const PLOTS: &[&Plot] = &[
    &finding::LOST_THING,
    &finding::LOST_WAY,
    &finding::STRANGE_NOISE,
    &finding::TREASURE_MAP,
    &kindness::HURT_ANIMAL,
    &kindness::SHARING,
    &kindness::NEWCOMER,
    &kindness::GRUMPY_NEIGHBOR,
    &kindness::GIFT,
    &courage::FEAR,
    &courage::TOO_SMALL,
    &courage::RACE,
    &courage::TRUTH,
    &courage::CROSSING,
    &learning::SKILL,
    &learning::SEED,
    &learning::WISH,
    &learning::HURRY,
    &making::BUILDING,
    &making::STORM,
    &making::RAINY_DAY,
    &making::COOKING,
];
