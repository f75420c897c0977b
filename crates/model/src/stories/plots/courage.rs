//! Plots of being brave and honest.

use super::Plot;
use crate::stories::beats::{DAY_OUT, FRIENDS, NIGHT, OPENING, THANKS, TRAIT};

/// A fear is met step by step, and then the hero helps another who has it.
pub(super) const FEAR: Plot = Plot {
    name: "fear",
    cases: &[
        &[
            ("fear", "the dark"),
            ("shows", "every night, {h.he} asked for a light by the bed"),
            ("advice", "the stars only come out when it is dark"),
            ("step", "(sat by the window and counted the stars|turned off the light and counted to ten)"),
            ("test", "one night, the lights went out. {f} was there too, and {f.he} began to cry"),
            ("help", "\"look at the stars,\" said {h}. \"they are our lights now.\""),
        ],
        &[
            ("fear", "thunder"),
            ("shows", "when a storm came, {h.he} hid under the blanket"),
            ("advice", "thunder is only the clouds playing the drum"),
            ("step", "(counted after every flash|hit a pot like a drum when the thunder came)"),
            ("test", "one {hour}, there was a loud clap of thunder. {f} jumped and hid behind a tree"),
            ("help", "\"it is only a big drum in the sky,\" said {h}. \"listen!\""),
        ],
        &[
            ("fear", "deep water"),
            ("shows", "when the others swam in the lake, {h.he} sat on the grass"),
            ("advice", "begin with your toes, and then one step more"),
            ("step", "(went in up to {h.his} knees|put {h.his} toes in and took one more step)"),
            ("test", "one {hour}, {f} stood by the water and did not dare to go in"),
            ("help", "\"begin with your toes,\" said {h}. \"I will go in with you.\""),
        ],
        &[
            ("fear", "high places"),
            ("shows", "when the others climbed trees, {h.he} stayed on the ground"),
            ("advice", "do not look down, look at the next branch"),
            ("step", "(climbed one branch and no more|went a little higher than the day before)"),
            ("test", "one {hour}, {f} was sitting high in a tree and could not come down"),
            ("help", "{h} climbed up. \"do not look down,\" {h.he} said. \"look at me.\""),
        ],
        &[
            ("fear", "big dogs"),
            ("shows", "when a dog came near, {h.he} ran away"),
            ("advice", "stand still, be calm, and let the dog come to you"),
            ("step", "(stood still and let a small dog smell {h.him}|looked at a dog over the fence)"),
            ("test", "one {hour}, a big dog ran up to {f}. {f} was too scared to move"),
            ("help", "\"stand still,\" said {h}. \"he only wants to say hello.\""),
        ],
        &[
            ("fear", "singing in front of others"),
            ("shows", "when everyone looked at {h.him}, {h.his} voice was gone"),
            ("advice", "sing for one friend first, and forget the rest"),
            ("step", "(sang for {e}|sang to the birds in the garden)"),
            ("test", "on the day of the big show, {f} was so afraid that {f.he} could not sing a note"),
            ("help", "\"sing for me,\" said {h}. \"we will do it together.\""),
        ],
    ],
    paragraphs: &[
        &[
            OPENING,
            &[
                "{h} was (happy|cheerful|brave) most of the time, but {h.he} was afraid of {fear}.",
                "there was one thing {h} did not like, and that was {fear}.",
                "{h} liked (many|most) things, but {h.he} was [very ]afraid of {fear}.",
            ],
            &["{shows}.", "{shows}. {h.he} did not want (anyone to know|to tell anyone)."],
        ],
        &[
            &[
                "one {sky} {hour}, {h} told {e} about it. \"everyone is afraid of something,\" said {e}. \"(remember|I will tell you a secret): {advice}.\"",
                "\"I wish I were brave,\" said {h}. {e} smiled. \"being brave means being afraid and trying anyway,\" {e.he} said. \"and {advice}.\"",
                "{e} sat down next to {h}. \"when I was small, I was afraid too,\" {e.he} said. \"then someone told me this: {advice}.\"",
            ],
            &[
                "so {h} tried. {h.he} {step}. {h.his} heart beat fast, but nothing bad happened.",
                "{h} thought about that. the next day, {h.he} {step}. it was not so bad.",
                "{h} (was not sure|thought for a while), but {h.he} wanted to try. {h.he} {step}.",
            ],
            &[
                "every day it became a little easier.",
                "the next time, it was (easier|better).",
                "\"I did it!\" {h} said. {e} clapped.",
                "",
            ],
        ],
        &[
            &["{test}."],
            &[
                "{h} knew that feeling. {h.he} was still a little afraid, but {h.he} went to {f}.",
                "{h} remembered what {e} had said, and {h.he} took a deep breath.",
                "{h} forgot to be afraid. {h.he} wanted to help.",
            ],
            &["{help}"],
            &[
                "after a while, {f} stopped shaking and smiled. \"you are so brave,\" said {f}.",
                "it worked! {f} (smiled|laughed) and held on to {h}.",
                "and slowly, very slowly, {f} was not afraid anymore.",
            ],
        ],
        &[
            &[
                "\"I was afraid too,\" said {h}. \"(but|and) it gets better (when you try|step by step|with a friend).\"",
                "{h} learned that you can be afraid and brave at the same time.",
                "since that day, {h} has not been afraid of {fear}.",
                "{e} heard about it and was very proud.",
            ],
            FRIENDS,
        ],
    ],
};

/// Everyone says the hero is too small, until only a small one can help.
pub(super) const TOO_SMALL: Plot = Plot {
    name: "too small",
    cases: &[
        &[
            ("lost", "key"),
            ("where", "fell into a deep crack between two rocks"),
            ("whose", "the key to the village well"),
        ],
        &[
            ("lost", "ring"),
            ("where", "rolled into a narrow hole in the wall"),
            ("whose", "the ring that {e} loved most"),
        ],
        &[
            ("lost", "bell"),
            ("where", "fell down behind the old tower"),
            ("whose", "the bell for the summer party"),
        ],
        &[
            ("lost", "duckling"),
            ("where", "slipped into a narrow pipe"),
            ("whose", "the smallest one of all the ducklings"),
        ],
        &[
            ("lost", "kitten"),
            ("where", "crawled under the floor of the barn"),
            ("whose", "the kitten that {f} loved so much"),
        ],
    ],
    paragraphs: &[
        &[
            OPENING,
            &[
                "{h} was the smallest of all. \"you are too small to (help|play|carry that),\" the others always said.",
                "{h} wanted to help, but everyone said, \"You are too (small|little), {h}.\"",
            ],
            &[
                "{h} wished to be (big and strong|as big as {f}|tall like the others).",
                "that made {h} [very ](sad|angry). \"one day I will be big,\" {h.he} thought.",
                "only {f} never said that. \"you are just right,\" said {f}.",
            ],
        ],
        &[
            &[
                "one {sky} {hour}, there was trouble. @ {lost} {where}! it was {whose}.",
                "one {sky} {hour}, everyone came running. @ {lost} {where}. it was {whose}.",
            ],
            &[
                "the strong ones pulled and pushed, but (nothing moved|it did not help).",
                "{f} tried to reach it, but {f.he} was too big.",
                "they tried with a stick. they tried with a rope. (nothing worked|it was no use).",
            ],
            &[
                "\"what can we do?\" they said. \"the (hole|gap) is too small for us.\"",
                "\"we will never get it out,\" said {f}.",
            ],
        ],
        &[
            &[
                "then a small voice said, \"Let me try.\" it was {h}.",
                "\"I can fit in there,\" said {h}. everyone turned around and looked at {h.him}.",
                "{h} stepped forward. \"it is not too small for me,\" {h.he} said.",
            ],
            &[
                "{h} (crawled|climbed) in. it was dark and dusty, but {h.he} did not stop.",
                "{f} held a rope, and {h} (slid|went) in, deeper and deeper. it was very dark.",
            ],
            &[
                "\"I have it!\" {h} called, and out {h.he} came with the {lost}.",
                "after a while, {h} came back. {h.he} was (dirty|covered in dust), but {h.he} had the {lost}.",
            ],
        ],
        &[
            &[
                "everyone (cheered|clapped). \"{h} did it! {h} did it!\" they shouted.",
                "they lifted {h} up high and carried {h.him} around.",
                "\"we were wrong,\" the others said. \"you are small, but your heart is big.\"",
            ],
            &[
                "from then on, nobody said that {h} was too small.",
                "{h} learned that being small can be a good thing.",
                "{h} stood very tall that day.",
                "\"I told you,\" said {f}. \"you are just right.\"",
            ],
            NIGHT,
        ],
    ],
};

/// In a race the hero stops to help and wins something better.
pub(super) const RACE: Plot = Plot {
    name: "race",
    cases: &[
        &[("race", "race to the big oak tree"), ("fell", "tripped over a root and fell")],
        &[("race", "race around the lake"), ("fell", "slipped in the mud and hurt {f.his} leg")],
        &[("race", "race up the green hill"), ("fell", "fell over a stone and could not get up")],
        &[
            ("race", "boat race on the river"),
            ("fell", "lost {f.his} boat in the waves and fell into the water"),
        ],
        &[("race", "race through the forest"), ("fell", "ran into a thorn bush and sat there, crying")],
    ],
    paragraphs: &[
        &[OPENING, TRAIT],
        &[
            &[
                "every year there was @ {race}. the prize was @ {thing.adj} {thing}, and {h} wanted to win[ it].",
                "one {sky} {hour}, there was @ {race}. the winner would get @ {thing.adj} {thing}.",
            ],
            &[
                "{h} practiced every day[, even in the rain]. {h.he} got (faster and faster|better and better).",
                "\"I want that {thing} so much,\" said {h}. {h.his} {e.kin} said, \"Do your best and be fair.\"",
                "{f} was in the race too. \"(good luck|may the best one win),\" said {f}.",
            ],
        ],
        &[
            &[
                "\"(ready, set, go|one, two, three, go)!\" {Sky.line}, and off they went.",
                "the race began. {sky.line}. everyone (shouted|cheered).",
            ],
            &[
                "soon {h} was in front. {h.he} could already see the (end|line).",
                "{h} was fast. only @ (little|few more steps) and {h.he} would win.",
            ],
            &[
                "then {h} heard a cry behind {h.him}. {f} {fell}.",
                "but just then, {f} {fell}. nobody else (stopped|looked back).",
            ],
        ],
        &[
            &[
                "{h} looked at the (line|end). then {h.he} looked back at {f}. {h.he} turned around.",
                "what should {h} do? {h.he} wanted to win, but {f} needed help. {h} stopped.",
            ],
            &[
                "\"(hold on to me|I am here|let me help you),\" {h} said. {h.he} helped {f}, and they went on together.",
                "{h} ran back and helped {f} up. \"(go on|you will lose),\" said {f}. \"not without you,\" said {h}.",
            ],
            &[
                "they came in last, side by side. and everyone cheered louder than before.",
                "they were the last ones, but they were (smiling|laughing).",
            ],
        ],
        &[
            &[
                "the winner came to {h} with the {thing}. \"this is for you,\" the winner said. \"you ran the best race.\"",
                "\"there is one more prize today,\" said {e}. \"it is for the kindest one.\" and {h} got (a big cake|a golden star|a crown of flowers).",
                "{h} did not get the {thing}. but {h.he} got something better: a friend for life.",
            ],
            &[
                "{h} learned that (helping is better than winning|there is more than one way to win).",
                "\"next year we will run together again,\" said {f}.",
                "",
            ],
            FRIENDS,
        ],
    ],
};

/// Something is broken, hidden, and at last confessed.
pub(super) const TRUTH: Plot = Plot {
    name: "truth",
    cases: &[
        &[("vase", "vase"), ("broke", "fell down and broke"), ("hid", "hid the pieces under the bed")],
        &[("vase", "window"), ("broke", "broke with a loud noise"), ("hid", "closed the curtain")],
        &[("vase", "clock"), ("broke", "fell from the wall and stopped"), ("hid", "put it behind a box")],
        &[("vase", "teapot"), ("broke", "fell from the table and broke"), ("hid", "threw a cloth over it")],
        &[("vase", "chair"), ("broke", "tipped over and lost a leg"), ("hid", "pushed it into the corner")],
    ],
    paragraphs: &[
        &[OPENING, TRAIT],
        &[
            &[
                "{e} had told {h} not to (run|jump|play ball) in the house. but one {sky} {hour}, {h} forgot.",
                "one {sky} {hour}, {h} and {f} were playing in the house[ with a ball], even though {e} had said no.",
            ],
            &[
                "(crash|bang|oh no)! the {vase} {broke}. {h} stood still.",
                "{h} (turned around too fast|jumped too high|threw the ball too hard), and the {vase} {broke}.",
            ],
            &[
                "\"what will {e} say?\" {h.he} thought. {h.he} quickly {hid}.",
                "{h} was afraid. nobody had seen it but {f}. so {h} {hid}.",
            ],
        ],
        &[
            &[
                "when {e} came home, {e.he} asked, \"What happened to the {vase}?\" \"I do not know,\" said {h}. {h.his} face was red.",
                "in the evening, {e} looked around. \"something is different here,\" {e.he} said. {h} looked at {h.his} feet.",
            ],
            &[
                "{h} could not eat. {h} could not sleep. {h.his} tummy felt (bad|heavy|like a stone).",
                "that night, {h} lay awake. the lie was like @ (stone|cold little frog) in {h.his} tummy.",
            ],
            &[
                "\"you should tell the truth,\" said {f}. \"I will come with you.\"",
                "{h} thought about it for a long time. then {h.he} got up.",
                "\"I do not want to hide anymore,\" {h} thought.",
            ],
        ],
        &[
            &[
                "so {h} went to {e}. \"I broke the {vase},\" {h.he} said. \"and I did not tell you. I am sorry.\"",
                "{h} told {e} everything. tears ran down {h.his} face.",
            ],
            &[
                "{e} was quiet for a moment. then {e.he} hugged {h}. \"thank you for telling me,\" {e.he} said. \"that was brave.\"",
                "\"I am a little sad about the {vase},\" said {e}. \"but I am glad that you told the truth.\"",
                "{e} did not shout. \"things can be fixed,\" {e.he} said. \"trust is harder to fix.\"",
            ],
            &[
                "together they (fixed|mended) the {vase}, and it was almost like new.",
                "{h} helped to clean up, and {f} helped too.",
                "{h} worked in the garden for a week to make up for it.",
            ],
        ],
        &[
            &[
                "{h} felt as light as a feather. that night, {h.he} slept very well.",
                "{h} learned that the truth may be hard, but a lie is heavier.",
                "from then on, {h} always told the truth.",
                "after that, {h} only played ball outside.",
            ],
            THANKS,
        ],
    ],
};

/// Kept out of reach by a stream or a wall, the hero is helped across and returns the help.
pub(super) const CROSSING: Plot = Plot {
    name: "crossing",
    cases: &[
        &[("gap", "stream"), ("way", "a log over the water")],
        &[("gap", "deep ditch"), ("way", "a wide board over the ditch")],
        &[("gap", "muddy road"), ("way", "a row of flat stones through the mud")],
        &[("gap", "high wall"), ("way", "a stair of boxes over the wall")],
    ],
    paragraphs: &[
        &[OPENING, TRAIT],
        &[
            DAY_OUT,
            &[
                "@ {gap} was in the way. \"how can I get to the other side?\" {h} asked.",
                "there was @ {gap}, and {h} could not get across.",
            ],
            &[
                "{h} wanted to try, but {h.he} was not brave enough.",
                "{h} walked up and down and looked for a way. there was none.",
            ],
        ],
        &[
            &[
                "on the other side stood @ {f.kind} named {f}. \"I cannot get across,\" called {f}. \"me neither,\" called {h}.",
                "@ {f.kind} named {f} was on the other side. {f.he} wanted to cross too.",
            ],
            &[
                "they looked at each other and laughed. \"let us do it together,\" said {f}.",
                "\"we need to work together,\" said {h}. \"I have an idea.\"",
            ],
            &[
                "{h} pushed from one side and {f} pulled from the other. soon there was {way}.",
                "it was hard work, but step by step they made {way}.",
            ],
            &[
                "{h} went slowly, one foot after the other. \"do not stop,\" called {f}. then {h} was across!",
                "first {f} tried it. it held! then {h} tried it, too.",
            ],
        ],
        &[
            &[
                "after that, everyone used it. \"who made this?\" they asked. \"(we did|two friends did),\" said {h}.",
                "now it was easy to visit each other, and they did so every day.",
            ],
            &[
                "{h} learned that what is too hard for one can be easy for two.",
                "\"I am glad that there was @ {gap},\" said {f}. \"that is how I met you.\"",
            ],
            FRIENDS,
            NIGHT,
        ],
    ],
};
