//! Who a story is about.

use rand_chacha::ChaCha8Rng;

use super::grammar::{Slots, below, pick};

/// Few enough that a small model meets each of them often, and learns to keep to one through a story.
const GIRLS: [&str; 13] =
    ["Lily", "Mia", "Anna", "Zoe", "Ella", "Ruby", "Nora", "Lucy", "Emma", "Sara", "Rosa", "Clara", "Molly"];
const BOYS: [&str; 13] =
    ["Tom", "Ben", "Max", "Sam", "Leo", "Finn", "Jack", "Milo", "Noah", "Tim", "Hugo", "Oscar", "Toby"];

/// A species and where it lives.
const ANIMALS: [(&str, &str); 14] = [
    ("fox", "in a (cozy|warm|dry) den (under an old oak tree|near the forest|by the hill)"),
    ("rabbit", "in a (cozy|warm|soft) burrow (under a green hill|near the meadow)"),
    ("bear", "in a (big|warm|dark) cave (near the river|in the mountains)"),
    ("mouse", "in a (tiny|little|cozy) hole (under the stairs|near the barn|in an old wall)"),
    ("squirrel", "in a (tall|hollow|big) tree (near the park|in the forest)"),
    ("duck", "by a (quiet|blue|little) pond (near the farm|behind the mill)"),
    ("hedgehog", "under a (green|thick|round) bush (in the garden|near the meadow)"),
    ("owl", "in a (hollow|tall|dark) tree (in the forest|near the old mill)"),
    ("frog", "by a (green|quiet|little) pond (near the forest|in the meadow)"),
    ("cat", "in a (little|white|cozy) house (by the sea|near the market)"),
    ("pig", "on a (small|sunny|quiet) farm (near the river|behind the hill)"),
    ("otter", "by a (wide|cold|clear) river (near the forest|in the valley)"),
    ("mole", "in a (long|dark|cozy) tunnel (under the garden|under the meadow)"),
    ("goat", "on a (high|green|rocky) hill (near the village|above the valley)"),
];

const HOUSES: &str = "in a (small|little|yellow|white|blue|tall|cozy) house \
    (by the sea|near the forest|on a hill|at the end of the street|by the river|near the market|\
    next to a farm|in a quiet village)";

const TRAITS: [&str; 10] =
    ["kind", "brave", "shy", "curious", "cheerful", "clever", "gentle", "quiet", "playful", "helpful"];
const HOBBIES: [&str; 18] = [
    "sing songs",
    "climb trees",
    "look at the clouds",
    "draw pictures",
    "count the stars",
    "run in the grass",
    "collect shiny stones",
    "tell jokes",
    "read books",
    "dance in the rain",
    "pick flowers",
    "jump over puddles",
    "ask questions",
    "listen to stories",
    "work in the garden",
    "watch the birds",
    "play hide and seek",
    "walk in the woods",
];
const KIN: [(&str, &str, bool); 4] = [
    ("Mom", "mom", true),
    ("Dad", "dad", false),
    ("Grandma", "grandma", true),
    ("Grandpa", "grandpa", false),
];
/// Small animals that are met and called "it".
const CREATURES: [&str; 10] =
    ["kitten", "puppy", "bird", "duckling", "turtle", "lamb", "butterfly", "snail", "deer", "pony"];

/// Fills the slots of hero (`h`), friend (`f`), elder (`e`) and a small animal (`a`).
///
/// Hero and friend differ in gender, so that a pronoun always says who is meant.
pub(super) fn cast(slots: &mut Slots, rng: &mut ChaCha8Rng) {
    let hero_is_girl = below(rng, 2) == 0;
    let children = below(rng, 2) == 0;
    let hero = if children { None } else { Some(below(rng, ANIMALS.len())) };
    // Another species: a step of 1 to 13 around the list never returns to its start.
    let friend = hero.map(|h| (h + 1 + below(rng, ANIMALS.len() - 1)) % ANIMALS.len());

    character(slots, rng, &HERO, hero_is_girl, hero);
    character(slots, rng, &FRIEND, !hero_is_girl, friend);
    slots.set("home", hero.map_or(HOUSES, |h| ANIMALS[h].1));
    slots.set("h.adj", *pick(rng, &TRAITS));
    slots.set("hobby", *pick(rng, &HOBBIES));

    let &(name, kin, elder_is_woman) = pick(rng, &KIN);
    slots.set("e", name);
    slots.set("e.kin", kin);
    slots.set("e.he", if elder_is_woman { "she" } else { "he" });
    slots.set("e.him", if elder_is_woman { "her" } else { "him" });
    slots.set("e.his", if elder_is_woman { "her" } else { "his" });
    slots.set("a", *pick(rng, &CREATURES));
}

/// Slot names of one character.
struct Role {
    name: &'static str,
    kind: &'static str,
    he: &'static str,
    him: &'static str,
    his: &'static str,
    himself: &'static str,
}

const HERO: Role =
    Role { name: "h", kind: "h.kind", he: "h.he", him: "h.him", his: "h.his", himself: "h.himself" };
const FRIEND: Role =
    Role { name: "f", kind: "f.kind", he: "f.he", him: "f.him", his: "f.his", himself: "f.himself" };

fn character(slots: &mut Slots, rng: &mut ChaCha8Rng, role: &Role, girl: bool, animal: Option<usize>) {
    slots.set(role.name, *pick(rng, if girl { &GIRLS } else { &BOYS }));
    let child = if girl { "girl" } else { "boy" };
    slots.set(role.kind, animal.map_or(child, |index| ANIMALS[index].0));
    let pronouns = if girl { ["she", "her", "her", "herself"] } else { ["he", "him", "his", "himself"] };
    for (slot, pronoun) in [role.he, role.him, role.his, role.himself].into_iter().zip(pronouns) {
        slots.set(slot, pronoun);
    }
}
