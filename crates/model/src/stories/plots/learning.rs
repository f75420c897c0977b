//! Plots of learning, waiting and wishing.

use super::Plot;
use crate::stories::beats::{DAY_OUT, FRIENDS, NIGHT, OPENING, THANKS, TRAIT};

/// A skill is learned by practice.
pub(super) const SKILL: Plot = Plot {
    name: "skill",
    cases: &[
        &[
            ("skill", "swim"),
            ("sky", "warm"),
            ("sky.line", "the sun was shining"),
            ("fail", "swallowed water and came up coughing"),
            ("tip", "breathe slowly and kick your legs"),
            ("done", "swam across the pond"),
        ],
        &[
            ("skill", "ride a bike"),
            ("fail", "fell into the grass"),
            ("tip", "look ahead and not at your feet"),
            ("done", "rode down the street"),
        ],
        &[
            ("skill", "whistle"),
            ("fail", "blew and blew and made no sound"),
            ("tip", "make your mouth round, like an egg"),
            ("done", "whistled a whole song"),
        ],
        &[
            ("skill", "skate"),
            ("sky", "cold"),
            ("sky.line", "the (air was cold|lake was frozen) and the (ground|grass) was white"),
            ("fail", "slipped and sat down on the ice"),
            ("tip", "bend your knees and go slowly"),
            ("done", "skated all around the lake"),
        ],
        &[
            ("skill", "fly a kite"),
            ("sky", "windy"),
            ("sky.line", "the wind danced through the trees"),
            ("fail", "ran, but the kite fell down"),
            ("tip", "wait for the wind"),
            ("done", "made the kite fly as high as the clouds"),
        ],
        &[
            ("skill", "play the drum"),
            ("fail", "made so much noise that the birds flew away"),
            ("tip", "listen first, and then play"),
            ("done", "played the drum at the summer party"),
        ],
        &[
            ("skill", "read"),
            ("fail", "mixed up all the letters"),
            ("tip", "take one letter at a time"),
            ("done", "read a whole page out loud"),
        ],
        &[
            ("skill", "dance"),
            ("fail", "stepped on everyone's toes"),
            ("tip", "count to three and listen to the music"),
            ("done", "danced in front of everyone"),
        ],
    ],
    paragraphs: &[
        &[
            OPENING,
            &[
                "all {h.his} friends could {skill}, but {h} could not.",
                "{h} wanted to learn how to {skill}.",
                "more than anything, {h} wanted to {skill}. {f} could do it very well.",
            ],
        ],
        &[
            &[
                "one {sky} {hour}, {h} went to {place} to try. {sky.line}.",
                "one {sky} {hour}, {h} said, \"Today I will learn to {skill}!\"",
            ],
            &["{h.he} tried, but {h.he} {fail}.", "it looked so easy. but {h} {fail}."],
            &[
                "{h.he} tried again. {h.he} {fail} again. \"I will never learn it!\" {h.he} (cried|shouted).",
                "some of the others laughed. {h} felt (hot|sad) and wanted to go home.",
                "\"it is too hard,\" said {h}, and {h.he} sat down.",
            ],
        ],
        &[
            &[
                "then {f} sat down next to {h.him}. \"I could not do it at first, either,\" said {f}. \"{tip}.\"",
                "{f} came over. \"do you want to know a trick?\" {f.he} asked. \"{tip}.\"",
                "\"do not give up,\" said {f}. \"I will show you. {tip}.\"",
            ],
            &[
                "they practiced together every day. {h} got a little better each time.",
                "the next day they tried again, and the day after that, too.",
                "{h} tried ten times. {h} tried twenty times. {f} stayed with {h.him}.",
            ],
        ],
        &[
            &[
                "and then, one {hour}, {h} {done}! \"look at me!\" {h.he} (called|shouted).",
                "at last, the big day came. {h} {done}. \"I can do it!\" {h.he} shouted.",
                "after (a week|many days), it worked. {h} {done}.",
            ],
            &[
                "{f} clapped and cheered.",
                "{e} came out to watch and was very proud.",
                "everyone clapped, and {h.his} face was red with joy.",
                "",
            ],
            &[
                "{h} learned that you get better when you keep trying.",
                "\"it was hard,\" said {h}, \"but that is why it feels so good.\"",
                "\"you only fail when you stop,\" said {f}.",
            ],
            THANKS,
        ],
    ],
};

/// A seed needs more patience than the hero has at first.
pub(super) const SEED: Plot = Plot {
    name: "seed",
    cases: &[
        &[
            ("plant", "sunflower"),
            ("grown", "it was taller than {h}, with a face like the sun"),
            ("use", "gave the seeds to the birds"),
        ],
        &[
            ("plant", "pumpkin"),
            ("grown", "it was so big that {h} could sit on it"),
            ("use", "made soup foreveryone"),
        ],
        &[
            ("plant", "strawberry"),
            ("grown", "it was full of sweet red berries"),
            ("use", "ate the berries in the sun"),
        ],
        &[
            ("plant", "apple tree"),
            ("grown", "it had small white flowers, and later red apples"),
            ("use", "baked an apple pie"),
        ],
        &[
            ("plant", "bean"),
            ("grown", "it had climbed all the way up to the roof"),
            ("use", "cooked the beans for supper"),
        ],
        &[
            ("plant", "rose"),
            ("grown", "it had one big red flower that smelled wonderful"),
            ("use", "sat next to it every evening"),
        ],
    ],
    paragraphs: &[
        &[OPENING, TRAIT],
        &[
            &[
                "one {sky} {hour}, {e} gave {h} a tiny seed. \"this will be @ {plant} one day,\" said {e}.",
                "one spring day, {h} found a seed {there}. \"that is @ {plant} seed,\" said {e}.",
                "in spring, {f} gave {h} a seed. \"plant it, and you will have @ {plant},\" said {f}.",
            ],
            &[
                "{h} (dug|made) a little hole, put the seed in, and gave it some water.",
                "{h} planted it (in the garden|by the wall|in a pot) and watered it.",
            ],
            &[
                "then {h.he} sat down to wait. \"grow, little seed!\" {h.he} said. nothing happened.",
                "{h} looked at noon. {h} looked again before bed. there was only (brown|black) earth.",
            ],
        ],
        &[
            &[
                "the next day there was nothing, and the day after that there was nothing.",
                "a week went by, and still there was nothing to see.",
            ],
            &[
                "\"maybe it is sleeping,\" said {h}. {h.he} (sang to it|told it a story|played the flute for it).",
                "\"I will dig it up and look,\" said {h}. \"no, no,\" said {e}. \"it needs time, water, and sun.\"",
                "\"it is broken,\" {h} said to {f}. \"wait a little longer,\" said {f}.",
            ],
            &[
                "so {h} waited. {h.he} gave it water when it was dry and (kept the snails away|pulled out the weeds).",
                "every morning, {h} gave it water. sometimes {f} helped.",
            ],
        ],
        &[
            &[
                "then, one morning, there was a tiny green leaf! \"it is growing!\" {h} shouted.",
                "and one day, {h} saw something green. {h.he} ran to tell {e} and {f}.",
            ],
            &[
                "it grew a little every day. at the end of summer, {grown}.",
                "the sun shone and the rain fell. soon {grown}.",
            ],
            &["{h} and {f} {use}.", "\"look what we have grown,\" said {h}. they {use}."],
        ],
        &[
            &[
                "{h} learned that good things take time.",
                "\"waiting is hard,\" said {h}. \"but it was worth it.\"",
                "\"you were patient,\" said {e}. \"that is the secret of every garden.\"",
            ],
            &[
                "the next spring, {h} planted (ten more seeds|a whole row of them).",
                "{h} kept one seed and gave it to {f}.",
                "",
            ],
        ],
    ],
};

/// A magic creature gives one wish, and the hero uses it for another.
pub(super) const WISH: Plot = Plot {
    name: "wish",
    cases: &[
        &[("magic", "golden fish"), ("caught", "was caught in a net"), ("free", "cut the net")],
        &[
            ("magic", "silver bird"),
            ("caught", "was stuck in a thorn bush"),
            ("free", "opened the bush with a stick"),
        ],
        &[("magic", "tiny fairy"), ("caught", "was trapped in a glass jar"), ("free", "opened the jar")],
        &[("magic", "white horse"), ("caught", "was stuck in deep mud"), ("free", "put branches in the mud")],
        &[
            ("magic", "blue butterfly"),
            ("caught", "was caught in a spider web"),
            ("free", "lifted it out with a leaf"),
        ],
    ],
    paragraphs: &[
        &[OPENING, TRAIT],
        &[
            DAY_OUT,
            &[
                "there {h.he} saw @ {magic} that {caught}. \"help me,\" it said.",
                "suddenly {h.he} heard a voice. \"please help me!\" It was @ {magic} that {caught}.",
            ],
            &[
                "{h} was surprised, but {h.he} did not run away. {h.he} carefully {free}.",
                "\"you can talk!\" said {h}. then {h.he} quickly {free}.",
            ],
            &[
                "\"thank you,\" said the {magic}. \"because you were kind, you may have one wish.\"",
                "the {magic} shone like a star. \"I will give you one wish,\" it said. \"think well.\"",
            ],
        ],
        &[
            &[
                "{h} thought about (toys|a big house|a mountain of cake). {h.he} thought about gold.",
                "one wish! {h} could have (all the toys in the world|a boat|a castle). it was hard to choose.",
            ],
            &[
                "then {h} thought of {f}, who (was sick in bed|had lost {f.his} home|could not walk well|was so sad these days).",
                "but {h.his} friend {f} (was very sick|had been sad for so long|had nothing to eat).",
            ],
            &[
                "\"I wish that {f} will be (well|happy) again,\" said {h}.",
                "{h} did not think any longer. \"please help {f},\" {h.he} said.",
            ],
        ],
        &[
            &[
                "\"that is a good wish,\" said the {magic}. there was a flash of light, and it was gone.",
                "the {magic} smiled. \"you have a big heart,\" it said. then it was gone.",
            ],
            &[
                "{h} ran (all the way|as fast as {h.he} could) to {f}. and there was {f}, dancing in front of the house!",
                "when {h} came to {f}, {f.he} opened the door with a big smile. everything was good again.",
            ],
            &[
                "\"I do not know how it happened!\" said {f}. {h} only smiled.",
                "they hugged and laughed and danced around the room.",
            ],
        ],
        &[
            &[
                "{h} never told anyone about the wish.",
                "{h} had no gold and no castle, but {h.he} was the happiest {h.kind} of all.",
                "{h} learned that the best wish is one for someone else.",
            ],
            FRIENDS,
            &[
                "and sometimes, when {sky.line}, {h} thought that {h.he} saw the {magic} again.",
                "and at night, something shone at the window and made {h} smile.",
                "",
            ],
        ],
    ],
};

/// A job done in a hurry has to be done again.
pub(super) const HURRY: Plot = Plot {
    name: "hurry",
    cases: &[
        &[
            ("job", "paint the fence"),
            ("botch", "paint was on the grass, on the wall, and on {h.himself}"),
            ("again", "painted one board at a time"),
            ("good", "the fence was as white as snow"),
        ],
        &[
            ("job", "clean the room"),
            ("botch", "everything fell out of the closet"),
            ("again", "put every toy in its box"),
            ("good", "the room was so clean that it shone"),
        ],
        &[
            ("job", "stack the wood"),
            ("botch", "the whole pile fell down"),
            ("again", "put the big pieces at the bottom"),
            ("good", "the pile was as straight as a wall"),
        ],
        &[
            ("job", "pick the apples"),
            ("botch", "half of the apples fell on the ground"),
            ("again", "picked the apples one by one"),
            ("good", "the basket was full of perfect apples"),
        ],
        &[
            ("job", "wash the dog"),
            ("botch", "the dog ran through the house with soap all over"),
            ("again", "spoke softly and poured the water slowly"),
            ("good", "the dog smelled like flowers"),
        ],
    ],
    paragraphs: &[
        &[
            OPENING,
            &[
                "{h} did everything (fast|in a hurry). {h.he} ate fast, {h.he} ran fast, and {h.he} talked fast.",
                "{h} could never wait. \"quick, quick!\" {h.he} always said.",
            ],
        ],
        &[
            &[
                "one {sky} {hour}, {e} asked {h} to {job}. \"then you can (play|go out) with {f},\" said {e}.",
                "one {sky} {hour}, {h} wanted to play with {f}. \"first you have to {job},\" said {e}.",
            ],
            &[
                "{f} was waiting {there}. so {h} worked as fast as {h.he} could.",
                "\"that will not take long,\" said {h}, and {h.he} began in a great hurry.",
            ],
            &["oh dear! soon {botch}.", "{h} did not look, and {h} did not think. before long, {botch}."],
            &[
                "\"done!\" said {h}. {e} looked at it and shook {e.his} head. \"please do it again,\" {e.he} said.",
                "\"oh no,\" said {h}. now there was more work than before.",
            ],
        ],
        &[
            &[
                "{f} came to see where {h} was. \"let us do it slowly,\" said {f}. \"then we only have to do it once.\"",
                "\"when you are in a hurry, go slowly,\" said {e}. {h} did not understand, but {h.he} tried. {f} came to help.",
            ],
            &[
                "so they {again}. they sang while they worked.",
                "this time, they {again}. it was (even fun|not so bad).",
            ],
            &["when they were done, {good}.", "and look! in the end, {good}."],
        ],
        &[
            &[
                "\"(well done|that is wonderful),\" said {e}. \"now go and play.\"",
                "{e} was so pleased that {e.he} gave them some {food}.",
            ],
            &[
                "{h} learned that slow and good is faster than quick and bad.",
                "after that, {h} took {h.his} time. well, most of the time.",
                "\"quick, quick,\" said {h}. then {h.he} laughed. \"I mean, slowly, slowly.\"",
            ],
            NIGHT,
        ],
    ],
};
