//! Beats that many plots share: how a story opens, who its hero is, and how the day ends.

use super::plots::Beat;

/// Introduces the hero.
pub(super) const OPENING: Beat = &[
    "(once upon a time|once|long ago), there was @ (little|young|small) {h.kind} (named|called) {h}. {h.he} lived {home}[ with {h.his} {e.kin}].",
    "{h} was @ (little|young|small) {h.kind} who lived {home}[ with {h.his} {e.kin}].",
    "(once upon a time|once|long ago), @ (little|young|small) {h.kind} (named|called) {h} lived {home}[ with {h.his} {e.kin}].",
    "{home}, there lived @ (little|young|small) {h.kind} (named|called) {h}.",
    "there once was @ (little|young|small) {h.kind} named {h}, who lived {home}.",
];

/// Says what the hero is like.
pub(super) const TRAIT: Beat = &[
    "{h} was [very ]{h.adj} and (loved|liked) to {hobby}.",
    "{h.he} was @ {h.adj} {h.kind} who (loved|liked) to {hobby}.",
    "more than anything else, {h.he} (loved|liked) to {hobby}.",
    "everyone (said|thought|knew) that {h} was [very ]{h.adj}.",
    "every (day|morning|evening), {h} found time to {hobby}.",
    "{h.he} could {hobby} all day long.",
];

/// Begins the day on which it happens, at the place.
pub(super) const DAY_OUT: Beat = &[
    "one {sky} {hour}, {h} (went|walked|ran) to {place}. {sky.line}.",
    "it was @ {sky} {hour}, and {sky.line}. {h} (went|walked) to {place}.",
    "one {hour}, {h} was {there}. {sky.line}.",
    "one {sky} {hour}, {h} was (playing|walking|sitting) {there}. {sky.line}.",
    "{sky.line}. it was a good {hour} to go to {place}, and so {h} went.",
];

/// The day ends at home.
pub(super) const NIGHT: Beat = &[
    "that (night|evening), {h} told {h.his} {e.kin} (all about it|the whole story|what had happened).",
    "that night, {h} (fell asleep|went to bed|closed {h.his} eyes) with @ (big |little |happy )smile.",
    "when the (moon|stars) came out, {h} went home[, tired but happy].",
    "at home, {h.his} {e.kin} gave {h.him} (some {food}|a big hug|a kiss and some {food}).",
    "{h.his} {e.kin} (smiled|laughed) and said, \"I am (so |very )proud of you, {h}.\"",
    "that night, {h} dreamed about (it|the day|{f}|{place}).",
    "",
];

/// Hero and friend are friends for good.
pub(super) const FRIENDS: Beat = &[
    "from that day on, {h} and {f} were (best|good|the best of) friends.",
    "after that, {h} and {f} (played together|met) (every day|{there} every day).",
    "{h} and {f} (walked|went|ran) home together, (singing|laughing|talking) all the way.",
    "and {h} and {f} stayed friends for (a long, long time|many years|ever).",
    "the two friends (laughed and danced|sat together and watched the sky|shared some {food}) until (the sun went down|it was dark|it was time for bed).",
];

/// Thanks and the answer to it.
pub(super) const THANKS: Beat = &[
    "\"thank you, {f},\" said {h}. \"you are @ (good|true|real|wonderful) friend.\"",
    "\"thank you[ so much]!\" said {h}. \"(you are welcome|that is what friends are for|I was glad to help),\" said {f}.",
    "{h} gave {f} a big hug. \"I could not have done it without you,\" {h.he} said.",
    "{h} thanked {f} (again and again|with a big hug|with some {food}).",
];
