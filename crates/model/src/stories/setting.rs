//! Where and when a story happens, and what is in it.

use rand_chacha::ChaCha8Rng;

use super::grammar::{Slots, pick};

/// A place to go to, and how to be there.
const PLACES: [(&str, &str); 14] = [
    ("the park", "in the park"),
    ("the forest", "in the forest"),
    ("the beach", "on the beach"),
    ("the meadow", "in the meadow"),
    ("the green hill", "on the green hill"),
    ("the river", "by the river"),
    ("the lake", "by the lake"),
    ("the market", "at the market"),
    ("the old bridge", "near the old bridge"),
    ("the pond", "by the pond"),
    ("the big oak tree", "under the big oak tree"),
    ("the mill", "behind the mill"),
    ("the farm", "on the farm"),
    ("the flower field", "in the flower field"),
];

/// A kind of day and what can be said of it.
const WEATHER: [(&str, &str); 9] = [
    ("sunny", "the (sun was warm|sky was blue|sun was shining) and the birds were singing"),
    ("windy", "the wind (blew|danced) (through|in) the trees"),
    ("cold", "the air was (cold|cool) and the grass was white"),
    ("warm", "the (air was full of bees|grass was soft and green)"),
    ("bright", "the sky was (clear|blue) and the flowers were open"),
    ("cloudy", "(gray|soft|big) clouds (filled|covered) the sky"),
    ("quiet", "(everything was still|not a sound could be heard|even the birds were quiet)"),
    ("foggy", "(fog covered the ground|the hills were hidden in the fog)"),
    ("cool", "the leaves were (red|yellow|golden) and the air was fresh"),
];

/// Small things one can own, lose, give and break, with what they may look like.
const THINGS: [(&str, &str); 20] = [
    ("ball", "(red|blue|yellow|big)"),
    ("kite", "(red|blue|green|long)"),
    ("hat", "(green|warm|funny|tall)"),
    ("scarf", "(long|warm|red|soft)"),
    ("book", "(thick|old|little|blue)"),
    ("drum", "(loud|little|round|red)"),
    ("bell", "(silver|tiny|shiny|golden)"),
    ("blanket", "(soft|blue|warm|old)"),
    ("toy boat", "(little|white|wooden|blue)"),
    ("lantern", "(bright|little|round|paper)"),
    ("basket", "(round|brown|little|new)"),
    ("whistle", "(silver|loud|little|wooden)"),
    ("key", "(golden|tiny|old|shiny)"),
    ("shell", "(pink|white|smooth|shiny)"),
    ("marble", "(green|blue|shiny|round)"),
    ("button", "(big|silver|golden|round)"),
    ("cup", "(blue|yellow|little|round)"),
    ("doll", "(little|soft|pretty|old)"),
    ("feather", "(white|blue|long|soft)"),
    ("flute", "(wooden|silver|long|little)"),
];

/// Food, always with "some".
const FOODS: [&str; 10] = [
    "apple pie",
    "berry cake",
    "honey cake",
    "carrot soup",
    "plum jam",
    "nut bread",
    "pumpkin soup",
    "cherry pie",
    "lemon cake",
    "warm bread",
];

/// Fills the slots of place, time, thing and food.
///
/// Values may be templates: the story reads each once, so that a thing keeps its colour.
pub(super) fn scene(slots: &mut Slots, rng: &mut ChaCha8Rng) {
    let &(place, there) = pick(rng, &PLACES);
    slots.set("place", place);
    slots.set("there", there);
    let &(weather, line) = pick(rng, &WEATHER);
    slots.set("sky", weather);
    slots.set("sky.line", line);
    slots.set("hour", "(morning|day|afternoon)");
    let &(thing, look) = pick(rng, &THINGS);
    slots.set("thing", thing);
    slots.set("thing.adj", look);
    slots.set("food", *pick(rng, &FOODS));
}
