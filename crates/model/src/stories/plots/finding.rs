//! Plots of losing and finding.

use super::Plot;
use crate::stories::beats::{DAY_OUT, FRIENDS, NIGHT, OPENING, THANKS, TRAIT};

/// A loved thing is lost, searched for with a friend, and found.
pub(super) const LOST_THING: Plot = Plot {
    name: "lost thing",
    cases: &[
        &[("spot", "(under a bench|behind a big rock|under some leaves|in a bush)")],
        &[("spot", "(next to the pond|between two roots|near the gate|in the tall grass)")],
        &[("spot", "(beside the path|behind a fence|on a tree stump|at the foot of a tree)")],
    ],
    paragraphs: &[
        &[
            OPENING,
            &[
                "{h} had @ {thing.adj} {thing}. {h.he} (took it everywhere|loved it very much|kept it by {h.his} bed|showed it to everyone).",
                "{h.his} favorite thing was @ {thing.adj} {thing}[ from {h.his} {e.kin}].",
                "{h.his} {e.kin} had given {h.him} @ {thing.adj} {thing}, and {h.he} loved it (very much|more than anything).",
            ],
        ],
        &[
            &[
                "one {sky} {hour}, {h} wanted to take the {thing} outside, but it was (gone|not there).",
                "one {sky} {hour}, {h} looked for the {thing}, but {h.he} could not find it.",
                "one {hour}, {h} woke up and the {thing} was gone. {sky.line}, but {h} was not happy.",
            ],
            &[
                "\"where is my {thing}?\" {h} (asked|cried|said). {h.he} felt [very ](sad|worried|upset).",
                "\"oh no! I have lost my {thing}!\" {h} (cried|said).",
                "{h} began to cry. \"I want my {thing} back,\" {h.he} said.",
            ],
            &[
                "{h.he} looked (under the bed|behind the door|in the big box|under the table|in the kitchen) and (behind the house|near the well|in the yard|under the stairs), but the {thing} was not there.",
                "first {h.he} looked (under the bed|behind the door|under the table). then {h.he} looked (in the yard|near the well|behind the house). it was not there.",
                "{h.he} asked {h.his} {e.kin}. \"I have not seen it,\" said {e}. \"(think of where you had it last|let us look again|look outside).\"",
            ],
        ],
        &[
            &[
                "(then|soon|just then) {h.his} friend {f} came by. \"(what is wrong|why are you so sad|what are you looking for), {h}?\" {f.he} asked. \"I have lost my {thing},\" said {h}.",
                "{h} went to {h.his} friend {f}. \"(can you help me|please help me),\" {h.he} said. \"my {thing} is gone.\"",
                "{h.his} friend {f} saw {h.him}. \"you look (sad|worried),\" said {f}. \"I will help you.\"",
            ],
            &[
                "they (went|walked) back to {place}, where {h} had played (the day before|that week). they looked (left and right|high and low|everywhere).",
                "together they (went|walked) to {place}. {f} looked (on one side|up high) and {h} looked (on the other side|down low).",
                "\"let us go to {place},\" said {f}. \"you were there (yesterday|this morning).\"",
            ],
            &[
                "at last, {f} looked {spot}. \"(here it is|I see it|I found it)!\" {f.he} (called|shouted).",
                "then {h} saw something {spot}. it was the {thing}!",
                "a little {a} was (sitting|sleeping|waiting) {spot}. next to it was the {thing}!",
                "{h} was about to give up when {f} looked {spot}. there was the {thing}!",
            ],
        ],
        &[
            &[
                "{h} (picked up the {thing} and|held the {thing} and) (laughed|smiled|danced) with joy.",
                "{h} was so (happy|glad) that {h.he} (jumped up and down|hugged the {thing}|laughed out loud).",
                "",
            ],
            THANKS,
            &[
                "after that, {h} always put the {thing} (back in its place|in a safe place|away at night).",
                "{h} learned to take (good|better) care of {h.his} things.",
                "\"(two friends|four eyes) can find more than (one|two),\" {f} said[ with a smile].",
                "",
            ],
            NIGHT,
        ],
    ],
};

/// The hero follows something too far, is lost, and is shown the way home.
pub(super) const LOST_WAY: Plot = Plot {
    name: "lost way",
    cases: &[
        &[("lure", "butterfly"), ("lure.did", "(flew|danced)")],
        &[("lure", "(blue|yellow|little) bird"), ("lure.did", "(flew|hopped)")],
        &[("lure", "(white|brown) rabbit"), ("lure.did", "(ran|hopped)")],
        &[("lure", "(red|golden) leaf"), ("lure.did", "(flew|danced)")],
        &[("lure", "(little|green) frog"), ("lure.did", "(hopped|jumped)")],
    ],
    paragraphs: &[
        &[OPENING, TRAIT],
        &[
            DAY_OUT,
            &[
                "there {h.he} saw @ {lure}. \"(how pretty|wait for me|come back)!\" {h} (called|said).",
                "@ {lure} came by, and {h} wanted to (see it up close|follow it|catch it).",
            ],
            &[
                "the {lure} {lure.did} (away|on and on|from here to there), and {h} (ran after it|followed it|went after it).",
                "it {lure.did} (over a stream|past a big rock|down a path|behind the trees), and {h} followed.",
            ],
            &[
                "{h} did not (look back|see how far {h.he} had gone|think about the way home).",
                "soon {h} was far away from (home|the path|everyone).",
            ],
        ],
        &[
            &[
                "when the {lure} was gone, {h} looked around. (all the trees looked the same|nothing looked like home|{h.he} did not know this place).",
                "then the {lure} was gone, and {h} was alone. \"where am I?\" {h.he} (said|asked).",
            ],
            &[
                "it was getting (dark|late|cold), and {h} was (scared|afraid|tired).",
                "{h} sat down on @ (rock|log) and began to cry.",
                "{h} called, \"{e}! {e}!\" but no one (answered|came).",
                "\"I must be brave,\" {h} said to {h.himself}. {h.he} took a deep breath.",
            ],
        ],
        &[
            &[
                "(just then|then), @ {f.kind} came (down the path|out of the trees|along). \"I am {f},\" {f.he} said. \"are you lost?\"",
                "@ (kind|friendly) {f.kind} named {f} heard {h.him}. \"(do not cry|do not be afraid),\" said {f}. \"I know the way.\"",
                "\"who is there?\" asked a voice. it was {f}, @ (friendly|kind) {f.kind} with @ (lantern|basket).",
            ],
            &[
                "\"I live {home},\" said {h}. \"I know that place,\" {f} (said|answered). \"(come with me|follow me|take my lantern).\"",
                "{f} (gave {h} some {food} and|smiled and) said, \"(we will find your home|I will take you home).\"",
            ],
            &[
                "they walked (past the mill|over the bridge|around the lake|through the forest), and {f} (sang a song|told funny stories|pointed at the stars) (all the way|to make {h} laugh).",
                "on the way, {f} showed {h} how to (look at the sun|remember big trees|follow the river) to find the way.",
            ],
        ],
        &[
            &[
                "at last, {h} saw (the light in the window|{h.his} home|{e} at the door). \"{h}! I was so worried!\" said {e}.",
                "{e} was waiting (at the door|outside). {e.he} hugged {h} and thanked {f}.",
            ],
            &[
                "\"I am sorry, {e},\" said {h}. \"next time I will (stay close|tell you where I go|stay on the path).\"",
                "{h} learned to (stay on the path|look where {h.he} was going|stay close to home).",
            ],
            FRIENDS,
        ],
    ],
};

/// A sound in the night frightens until its small cause is found.
pub(super) const STRANGE_NOISE: Plot = Plot {
    name: "strange noise",
    cases: &[
        &[
            ("noise", "tap, tap, tap"),
            ("where", "at the window"),
            ("cause", "a branch (in|and) the wind"),
            ("fix", "tied the branch back"),
        ],
        &[
            ("noise", "squeak, squeak"),
            ("where", "behind the door"),
            ("cause", "a tiny mouse looking for food"),
            ("fix", "gave it some bread"),
        ],
        &[
            ("noise", "scratch, scratch"),
            ("where", "under the floor"),
            ("cause", "a lost kitten"),
            ("fix", "gave it some warm milk"),
        ],
        &[
            ("noise", "bump, bump, bump"),
            ("where", "on the roof"),
            ("cause", "an apple tree dropping its apples"),
            ("fix", "picked up all the apples"),
        ],
        &[
            ("noise", "hoo, hoo"),
            ("where", "outside in the dark"),
            ("cause", "a baby owl that had lost its mother"),
            ("fix", "helped it back into its nest"),
        ],
        &[
            ("noise", "drip, drip, drip"),
            ("where", "in the kitchen"),
            ("cause", "rain coming through a little hole"),
            ("fix", "put a pot under the hole"),
        ],
    ],
    paragraphs: &[
        &[OPENING, TRAIT],
        &[
            &[
                "one night, {h} heard @ (strange|funny) noise {where}. \"{noise},\" it went.",
                "one (dark|windy|cold) night, {h} could not sleep. \"{noise},\" went something {where}.",
                "it was late, and {h} was in bed. then {h.he} heard it {where}. \"{noise}.\"",
            ],
            &[
                "{h} pulled the blanket over {h.his} head. \"(is it a monster|what is that|who is there)?\" {h.he} (whispered|asked).",
                "{h.his} heart beat fast. \"(maybe it is a monster|maybe it is a ghost|it must be something big),\" {h.he} thought.",
                "\"go away!\" {h} (cried|called). but the noise did not stop.",
            ],
        ],
        &[
            &[
                "{h.his} friend {f} was staying for the night. \"did you hear that?\" asked {h}. \"yes,\" {f} whispered.",
                "{f}, who was sleeping (in the next bed|on the floor), woke up too. \"I hear it,\" said {f}.",
            ],
            &[
                "\"let us (go and look|find out what it is),\" said {f}. \"we will go together.\" {h} (was afraid, but nodded|took a deep breath and nodded).",
                "\"I am scared,\" said {h}. \"me too,\" said {f}. \"(but we can be scared together|but I want to know).\"",
            ],
            &[
                "they took a lantern and walked (slowly|on the tips of their toes|step by step). \"{noise},\" went the noise again.",
                "they (got up|lit a candle) and went to look. the noise got louder and louder.",
            ],
        ],
        &[
            &[
                "then {h} held up the light. there was no monster! it was only {cause}.",
                "{h} (looked and looked|opened {h.his} eyes wide). it was only {cause}!",
                "and what did they see? it was {cause}. that was all!",
            ],
            &[
                "{h} and {f} looked at each other and laughed[ and laughed]. then they {fix}.",
                "\"so that was you!\" said {h}, and {h.he} felt (much better|very brave). the two friends {fix}.",
            ],
            &[
                "\"things look (bigger|scarier) in the dark,\" said {f}.",
                "{h} learned that it is good to look before you (run|worry|hide).",
                "after that, {h} was not (so |)afraid of (noises|the night|the dark) anymore.",
            ],
            &[
                "they went back to bed and slept until (morning|the sun came up).",
                "in the morning, they told {e}, and {e.he} laughed too.",
                "soon the house was quiet, and they both fell asleep.",
            ],
        ],
    ],
};

/// A map leads through places to a treasure that is not gold.
pub(super) const TREASURE_MAP: Plot = Plot {
    name: "treasure map",
    cases: &[
        &[("prize", "a box of old toys"), ("use", "played with them all day")],
        &[("prize", "a jar full of colored glass"), ("use", "hung the glass in the window to make rainbows")],
        &[("prize", "a picture book"), ("use", "read every page together")],
        &[("prize", "a bag of flower seeds"), ("use", "planted them in the garden")],
        &[
            ("prize", "a letter from {e}"),
            ("use", "read it out loud. \"the best treasure is a good friend,\" it said"),
        ],
    ],
    paragraphs: &[
        &[OPENING, TRAIT],
        &[
            &[
                "one {sky} {hour}, {h} found an old map (in a book|under the bed|in a bottle|in a dusty box).",
                "one {sky} {hour}, a piece of paper (blew in through the window|fell out of a book). it was a map!",
            ],
            &[
                "there was a red (cross|star) on it. \"it is a treasure map!\" {h} (shouted|said).",
                "it showed a path, a tree, and a big red (cross|star).",
            ],
            &[
                "{h} ran to {h.his} friend {f}. \"do you want to find a treasure?\" {h.he} asked. \"(yes|of course|let us go)!\" said {f}.",
                "{h} showed it to {f}. \"(I know that place|I have seen that tree|we can find it),\" {f.he} said.",
            ],
        ],
        &[
            &[
                "they (went|walked) to {place}, just as the map said. {sky.line}.",
                "first they followed the path to {place}. {sky.line}.",
            ],
            &[
                "they had to (cross a little stream|climb over a wall|go around a big rock|walk through tall grass). \"(be careful|hold on to me|this way),\" said {f}.",
                "{h} counted the steps. \"(eight, nine, ten|one, two, three, four). stop here!\"",
                "once they went the wrong way, and {h} wanted to (stop|go home). \"let us try one more time,\" said {f}.",
            ],
            &[
                "at last, they came to (an old tree|a pile of stones|a hollow log). they began to dig.",
                "there was (a pile of stones|an old tree), just like on the map. {h} looked inside.",
            ],
        ],
        &[
            &[
                "they did not find gold. they found {prize}!",
                "there was something there! it was {prize}.",
                "{h.his} eyes grew big. it was {prize}!",
            ],
            &[
                "\"this is (better than gold|the best treasure)!\" said {h}.",
                "\"who put it here?\" asked {f}. {e} (only smiled|laughed) when they asked {e.him}.",
                "they were not sad at all. they were (proud|happy|full of joy).",
            ],
            &["{h} and {f} took it home and {use}."],
            FRIENDS,
        ],
    ],
};
