//! Plots of being good to others.

use super::Plot;
use crate::stories::beats::{DAY_OUT, FRIENDS, NIGHT, OPENING, TRAIT};

/// A small animal in trouble is helped and comes back to say thanks.
pub(super) const HURT_ANIMAL: Plot = Plot {
    name: "hurt animal",
    cases: &[
        &[("trouble", "stuck in (some mud|a bush|a hole)"), ("help", "pulled it out")],
        &[("trouble", "stuck under @ (fallen branch|heavy log)"), ("help", "lifted the wood")],
        &[("trouble", "shaking with cold"), ("help", "wrapped it in a warm scarf")],
        &[("trouble", "hurt and could not walk"), ("help", "put a soft leaf around its leg")],
        &[("trouble", "lost and very hungry"), ("help", "gave it some food and water")],
    ],
    paragraphs: &[
        &[OPENING, TRAIT],
        &[
            DAY_OUT,
            &[
                "(suddenly|then), {h.he} heard @ (small|soft|sad) sound. it was a little {a}. it was {trouble}.",
                "on the way, {h.he} saw a little {a}. it was {trouble}.",
                "a little {a} was there, all alone. it was {trouble}.",
            ],
        ],
        &[
            &[
                "\"(poor little {a}|do not be afraid|oh dear),\" {h} said (softly|gently|in a quiet voice). \"I will help you.\"",
                "{h} knelt down. \"(you are safe now|stay still, little {a}),\" {h.he} said.",
            ],
            &[
                "{h} tried, but {h.he} could not do it alone. {h.he} called {h.his} friend {f}.",
                "it was not easy. {h} tried once, and {h.he} tried again. then {f} came to help.",
                "\"{f}, come quickly!\" called {h}. {f} came running.",
            ],
            &[
                "together they (slowly|gently|carefully) {help}. the {a} (looked up at them|blinked its eyes|made a happy sound).",
                "{f} (spoke softly|held the lantern|sang a song) while {h} (slowly|gently) {help}.",
            ],
            &[
                "they took the {a} home. {e} (gave it warm milk|made a bed for it in a box|found a soft blanket for it).",
                "{h} stayed with the {a} until it (was strong|felt better|fell asleep).",
                "every day, {h} brought it food and water, and the {a} grew strong.",
            ],
        ],
        &[
            &[
                "when the {a} was well, they let it go. \"goodbye, little {a},\" said {h}. {h.he} was happy and sad at the same time.",
                "soon the {a} could (run|play|go home) again. {h} waved until {h.he} could not see it anymore.",
            ],
            &[
                "a week later, there was a soft sound at the door. the {a} had come back with (a flower|a shiny stone|its whole family)!",
                "the next (spring|morning|week), the {a} came back to (play|visit|say hello).",
                "and do you know what? the {a} came to visit {h} (every day|every week|again and again).",
            ],
            &[
                "{h} learned that a little kindness (goes a long way|is never lost|comes back to you).",
                "\"when you are kind, you make (a friend|friends),\" said {e}.",
                "{h} and {f} were glad that they had stopped to help.",
                "",
            ],
        ],
    ],
};

/// The hero will not share, sees a friend sad, and finds that sharing is better.
pub(super) const SHARING: Plot = Plot {
    name: "sharing",
    cases: &[
        &[("mine", "{food}"), ("some", "some"), ("enjoy", "ate it together")],
        &[
            ("mine", "(ball|kite|drum|doll|toy boat|puzzle)"),
            ("some", "a new"),
            ("enjoy", "played with it together"),
        ],
        &[
            ("mine", "(ball|kite|drum|doll|toy boat|puzzle)"),
            ("some", "@ (big|red|blue|green)"),
            ("enjoy", "took turns with it"),
        ],
        &[("mine", "swing"), ("some", "a new"), ("enjoy", "took turns on it")],
        &[
            ("mine", "sled"),
            ("sky", "cold"),
            ("sky.line", "the (air was cold|lake was frozen) and the (ground|grass) was white"),
            ("some", "a fast"),
            ("enjoy", "raced down the hill on it"),
        ],
    ],
    paragraphs: &[
        &[OPENING, TRAIT],
        &[
            &[
                "one {sky} {hour}, {e} gave {h} {some} {mine}. {h} was very (happy|proud|glad).",
                "on {h.his} birthday, {h} got {some} {mine}. \"it is all mine!\" {h.he} (said|shouted).",
                "one {sky} {hour}, {h} had {some} {mine}. {sky.line}.",
            ],
            &[
                "{f} came by and saw it. \"(may I try it|can we share it|will you share that with me)?\" {f.he} asked.",
                "{h.his} friend {f} looked at the {mine}. \"(will you share with me|can I try it too)?\" {f} asked.",
            ],
            &[
                "\"no,\" said {h}. \"(it is mine|I want it all for myself|go away).\" {f} looked (down|at the ground) and (went|walked) away.",
                "{h} shook {h.his} head. \"no, the {mine} is mine,\" {h.he} said. {f} was [very ](sad|hurt).",
            ],
        ],
        &[
            &[
                "now {h} had the {mine}, but {h.he} was alone. it was (not much fun|very quiet|not so nice anymore).",
                "{h} sat down with the {mine}. but somehow {h.he} was not happy.",
            ],
            &[
                "{h} saw {f} sitting (under a tree|on a bench|by the road), all alone. {h.he} felt bad.",
                "\"why are you sad?\" asked {e}. \"I did not share,\" said {h}. \"you can still (fix that|say sorry),\" said {e}.",
                "{h} thought about (how kind {f} was|the sad look on {f.his} face|all the times {f} had shared with {h.him}).",
            ],
        ],
        &[
            &[
                "so {h} ran to {f}. \"I am sorry,\" {h.he} said. \"let us share the {mine}.\"",
                "{h} found {f}. \"I was (wrong|not nice),\" said {h}. \"please come back.\"",
            ],
            &[
                "{f} smiled. \"(thank you|I am not angry|that is nice of you),\" {f.he} said. and they {enjoy}.",
                "{f} (laughed and|jumped up and) said yes. they {enjoy}.",
            ],
            &[
                "it was (much|so much) better than being alone.",
                "{h} learned that (sharing makes you happy|good things are better with a friend|a friend is worth more than anything).",
                "\"it is (more fun|better) with you,\" said {h}.",
            ],
            FRIENDS,
        ],
    ],
};

/// Someone new is alone until the hero asks them to join.
pub(super) const NEWCOMER: Plot = Plot {
    name: "newcomer",
    cases: &[
        &[("game", "hide and seek"), ("good", "could hide better than anyone")],
        &[("game", "ball"), ("good", "could throw farther than anyone")],
        &[("game", "tag"), ("good", "could run as fast as the wind")],
        &[("game", "with the kite"), ("good", "knew how to make it fly high")],
        &[("game", "music"), ("good", "could sing like a bird")],
    ],
    paragraphs: &[
        &[OPENING, TRAIT],
        &[
            &[
                "one {sky} {hour}, a new {f.kind} came to live (near|next to) {h}. {f.his} name was {f}.",
                "one {sky} {hour}, {h} saw @ (new |){f.kind} (sitting|standing) alone {there}. it was {f}, who had just moved there.",
            ],
            &[
                "{f} did not (know anyone|say a word|look up). {f.he} looked (lonely|sad|shy).",
                "nobody (talked to|played with) {f}. \"{f.he} is (too quiet|not like us),\" (some said|said the others).",
                "the others were playing {game}, but {f} only watched[ from far away].",
            ],
        ],
        &[
            &[
                "{h} remembered (how it felt to be alone|{h.his} first day here|what {e} had told {h.him}). \"be kind to new people,\" {e} always said.",
                "{h} thought, \"If I were new, I would want a friend.\"",
            ],
            &[
                "so {h} went to {f} and said, \"Hello. I am {h}. do you want to play {game} with us?\"",
                "{h} walked over with some {food}. \"hello,\" said {h}. \"would you like some? we are playing {game}.\"",
            ],
            &[
                "at first, {f} (hid {f.his} face|said nothing|looked away). then {f.he} smiled a little. \"yes, please,\" {f.he} said.",
                "{f.his} eyes (lit up|grew wide). \"me? really?\" {f.he} asked. \"(yes, you|of course)!\" said {h}.",
            ],
        ],
        &[
            &[
                "they played {game} (until the sun went down|all day|until it was dark). and what a surprise! {f} {good}.",
                "soon everyone saw that {f} {good}. \"(wow|look at {f}|that is amazing)!\" they (said|shouted).",
            ],
            &[
                "\"we are sorry that we did not ask you,\" said the others. {f} (just laughed|was not angry).",
                "after that, nobody was alone {there}.",
                "now everyone wanted to play with {f}. but {f} stayed close to {h}, {f.his} first friend.",
            ],
            &[
                "{h} learned that (a new friend can be anywhere|one kind word can change a day|saying hello is easy).",
                "\"thank you for saying hello,\" said {f}.",
                "",
            ],
            FRIENDS,
        ],
    ],
};

/// Everyone fears the neighbor until the hero knocks at the door.
pub(super) const GRUMPY_NEIGHBOR: Plot = Plot {
    name: "grumpy neighbor",
    cases: &[
        &[
            ("old", "old Mister Gray"),
            ("o.he", "he"),
            ("o.his", "his"),
            ("secret", "was lonely"),
            ("thing", "ball"),
            ("thing.adj", "(red|blue|big|new)"),
        ],
        &[
            ("old", "old Mister Stone"),
            ("o.he", "he"),
            ("o.his", "his"),
            ("secret", "could not hear very well"),
        ],
        &[
            ("old", "old Miss Thorn"),
            ("o.he", "she"),
            ("o.his", "her"),
            ("secret", "missed her family"),
            ("thing", "paper plane"),
            ("thing.adj", "(white|blue|big|fast)"),
        ],
        &[
            ("old", "old Miss Frost"),
            ("o.he", "she"),
            ("o.his", "her"),
            ("secret", "had no one to talk to"),
            ("thing", "toy bird"),
            ("thing.adj", "(wooden|blue|little|new)"),
        ],
    ],
    paragraphs: &[
        &[
            OPENING,
            &[
                "next door lived {old}. everyone said that {o.he} was (mean|grumpy|very angry).",
                "at the top of the street lived {old}, who never smiled. all the little ones were afraid.",
            ],
        ],
        &[
            &[
                "one {sky} {hour}, {h} and {f} were playing with @ {thing.adj} {thing}. (oh no|suddenly)! it flew over the wall and into the garden of {old}.",
                "one {sky} {hour}, the wind took the {thing} that {h} and {f} had made. it landed in the garden of {old}.",
            ],
            &[
                "\"now it is gone,\" said {f}. \"{old} will never give it back.\"",
                "\"do not go in there!\" said {f}. \"{old} will be angry!\"",
            ],
            &[
                "but {h} (wanted to try|was brave|missed the {thing}). {h.he} went to the door and knocked (once|three times).",
                "{h} took a deep breath. \"I will ask,\" {h.he} said, and {h.he} knocked at the door.",
            ],
        ],
        &[
            &[
                "the door opened (slowly|with a creak). \"what do you want?\" asked {old}.",
                "\"who is it?\" called @ (deep|rough) voice. {h.his} knees shook.",
            ],
            &[
                "\"please, may we have our {thing} back?\" said {h}. \"we are sorry.\"",
                "\"good {hour},\" said {h}. \"our {thing} is in your garden. may we get it?\"",
            ],
            &[
                "{old} looked at {h} for a long time. then {o.he} smiled! \"no one has asked me so nicely before,\" {o.he} said.",
                "to their surprise, {old} laughed. \"of course,\" {o.he} said. \"come in. I have some {food}.\"",
            ],
        ],
        &[
            &[
                "{o.he} was not mean at all. {o.he} just {secret}.",
                "{h} and {f} found out that {old} {secret}.",
            ],
            &[
                "after that, they came to visit every (week|Sunday). they (listened to old stories|worked in the garden|ate some {food} together).",
                "{old} showed them (the garden|how to whistle|many old books), and they had @ (wonderful|very good) time.",
            ],
            &[
                "{h} learned not to believe (everything people say|all that is said).",
                "\"you should not judge someone you do not know,\" {h} told {f}.",
                "and the street was a happier place.",
            ],
            NIGHT,
        ],
    ],
};

/// The hero has no money for a gift and makes one.
pub(super) const GIFT: Plot = Plot {
    name: "gift",
    cases: &[
        &[
            ("made", "picture"),
            ("how", "drew (a big tree and a bright sun|the two of them under a rainbow)"),
            ("stuff", "paper and paint"),
        ],
        &[
            ("made", "crown"),
            ("how", "put (leaves|flowers) and grass together"),
            ("stuff", "some flowers and leaves"),
        ],
        &[
            ("made", "little house"),
            ("how", "put (stones|sticks) one on top of the other"),
            ("stuff", "some sticks and stones"),
        ],
        &[
            ("made", "necklace"),
            ("how", "put shells on a string, one by one"),
            ("stuff", "some string and shells"),
        ],
    ],
    paragraphs: &[
        &[OPENING, TRAIT],
        &[
            &[
                "tomorrow was the birthday of {h.his} friend {f}. {h} wanted to give {f.him} something (special|nice).",
                "{h.his} best friend {f} had a birthday soon. \"what can I give {f.him}?\" {h} (asked|thought).",
            ],
            &[
                "in the shop, {h} saw @ {thing.adj} {thing}. but {h.he} had (no money|only one coin).",
                "at the market there was @ {thing.adj} {thing}. \"that costs ten coins,\" said the (man|woman). {h} had only two.",
            ],
            &[
                "{h} walked home (slowly|with {h.his} head down). {h.he} was [very ]sad.",
                "\"I have nothing to give,\" {h} told {e}. \"the best gifts come from the heart,\" said {e}.",
                "{e} saw that {h} was sad. \"you can make something,\" said {e}.",
            ],
        ],
        &[
            &[
                "so {h} had an idea. {h.he} got {stuff}. \"I will make @ {made}!\" {h.he} said.",
                "{h} thought and thought. then {h.he} found {stuff} and began to make @ {made}.",
            ],
            &[
                "{h.he} {how}. it took (all day|a long time|the whole evening).",
                "{h.he} sat down and {how}. (it was hard work|the first one was not good, but the second one was better).",
            ],
        ],
        &[
            &[
                "the next day, {f} got many things from the others. {h} was (afraid that {h.his} gift was too small|a little shy).",
                "at the party, {h} waited until the end. \"it is not much,\" {h.he} said. \"but I made it (myself|for you).\"",
            ],
            &[
                "when {f} saw the {made}, {f.his} eyes (shone|filled with happy tears). \"you made this for me?\" {f.he} asked.",
                "{f} looked at the {made} for a long time. then {f.he} hugged {h}.",
            ],
            &[
                "\"this is the best gift of all,\" said {f}.",
                "\"I will keep it (forever|always),\" said {f}.",
            ],
            &[
                "{h} learned that a gift does not have to cost (money|a lot).",
                "they (ate|shared) some {food} and laughed until it was late.",
                "{h} was (so happy that {h.he} danced|as happy as {f}).",
            ],
            NIGHT,
        ],
    ],
};
