//! Plots of making things together.

use super::Plot;
use crate::stories::beats::{FRIENDS, NIGHT, OPENING, THANKS, TRAIT};

/// Something is built, fails twice, and works with a friend's idea.
pub(super) const BUILDING: Plot = Plot {
    name: "building",
    cases: &[
        &[
            ("built", "boat"),
            ("of", "wood and rope"),
            ("fail", "it filled with water and sank"),
            ("idea", "close the holes with wax"),
            ("works", "it floated like a duck"),
        ],
        &[
            ("built", "kite"),
            ("of", "paper and two sticks"),
            ("fail", "it turned around and fell down"),
            ("idea", "give it a long tail"),
            ("works", "it rose up into the sky"),
        ],
        &[
            ("built", "tower"),
            ("of", "flat stones"),
            ("fail", "it leaned to one side and fell"),
            ("idea", "put the biggest stones at the bottom"),
            ("works", "it stood tall and did not move"),
        ],
        &[
            ("built", "swing"),
            ("of", "a rope and a board"),
            ("fail", "the knot came open"),
            ("idea", "tie the rope two times"),
            ("works", "it carried them both"),
        ],
        &[
            ("built", "cart"),
            ("of", "a box and four wheels"),
            ("fail", "one wheel fell off"),
            ("idea", "put a pin through the middle of the wheel"),
            ("works", "it rolled down the hill like the wind"),
        ],
        &[
            ("built", "snowman"),
            ("sky", "cold"),
            ("sky.line", "the (air was cold|lake was frozen) and the (ground|grass) was white"),
            ("of", "soft white snow"),
            ("fail", "its head rolled off"),
            ("idea", "press the snow and make it hard"),
            ("works", "it stood there with a hat and a big smile"),
        ],
        &[
            ("built", "tree house"),
            ("of", "old boards"),
            ("fail", "the floor shook and broke"),
            ("idea", "put a strong beam under the floor"),
            ("works", "it was as safe as a real house"),
        ],
    ],
    paragraphs: &[
        &[
            OPENING,
            &[
                "{h} liked to make things. {h.his} (room|yard) was full of (tools|ideas|paper and string).",
                "{h} always had a new idea. \"what can I make today?\" {h.he} asked every morning.",
            ],
        ],
        &[
            &[
                "one {sky} {hour}, {h} wanted to make @ {built}. {h.he} got {of} and (began|went to work).",
                "\"I am going to make @ {built},\" {h} said one {sky} {hour}. {h.he} needed {of}.",
            ],
            &[
                "{h} worked (for hours|all day|very hard). but when {h.he} tried the {built}, {fail}.",
                "at first, everything went well. then {fail}. \"oh no!\" said {h}.",
            ],
            &[
                "{h} tried again. but again, {fail}.",
                "{h} was angry. \"stupid {built}!\" {h.he} shouted, and {h.he} sat down.",
                "\"I cannot do it,\" said {h}. {h.he} wanted to give up.",
            ],
        ],
        &[
            &[
                "{h.his} friend {f} (had been watching|came by). \"may I say something?\" asked {f}. \"you could {idea}.\"",
                "then {f} came. {f.he} looked at the {built} from all sides. \"I think we should {idea},\" {f.he} said.",
            ],
            &[
                "\"that is @ (great|very good|clever) idea!\" said {h}.",
                "{h} did not want any help at first. then {h.he} thought about it. \"you are right,\" {h.he} said.",
            ],
            &[
                "they worked side by side. {f} held and {h} (tied|pushed|pressed).",
                "together they tried it, and it was (fun|much easier) with two.",
            ],
            &[
                "then came the big moment. {works}!",
                "\"now!\" said {f}. and {works}!",
                "they held their breath. {works}!",
            ],
        ],
        &[
            &[
                "\"(it works|we did it|hooray)!\" they shouted.",
                "{h} jumped up and down and hugged {f}.",
                "everyone came to see the {built}.",
            ],
            &[
                "{h} learned that it is good to ask for help.",
                "\"when something goes wrong, you learn something new,\" said {f}.",
                "\"two heads are better than one,\" said {e}.",
                "they gave the {built} a name: the {f} and {h}.",
            ],
            THANKS,
            NIGHT,
        ],
    ],
};

/// A storm breaks a friend's home and all build it up again.
pub(super) const STORM: Plot = Plot {
    name: "storm",
    cases: &[
        &[("storm", "the wind blew so hard that the trees bent"), ("loss", "the roof was gone")],
        &[("storm", "it rained for three days and three nights"), ("loss", "there was water in every room")],
        &[("storm", "a big storm came over the hills"), ("loss", "a tree had fallen on it")],
        &[("storm", "it snowed so much that the doors would not open"), ("loss", "the walls were broken")],
    ],
    paragraphs: &[
        &[
            OPENING,
            &[
                "{h.his} friend {f} lived (nearby|close by|on the other side of the path), and they (saw each other|played together) every day.",
                "{h.his} best friend was {f}. {f} had @ (pretty|tiny|little) house with a red door.",
            ],
        ],
        &[
            &[
                "one night, {storm}. {h} sat close to {e} and waited for the morning.",
                "then, one night, {storm}. nobody could sleep.",
            ],
            &[
                "in the morning, everything was quiet. {h} ran out to see {f}. {f.his} house was broken: {loss}.",
                "when it was over, {h} went to look for {f}. \"my house!\" cried {f}. {loss}.",
            ],
            &[
                "{f} sat on a stone and cried. \"where will I (sleep|live) now?\" {f.he} asked.",
                "{f} had saved only @ {thing.adj} {thing}. {f.he} held it and cried.",
            ],
        ],
        &[
            &[
                "\"you can stay with us,\" said {h}. \"and we will build your house again.\"",
                "{h} put a blanket around {f}. \"do not worry,\" {h.he} said. \"I have a plan.\"",
            ],
            &[
                "{h} went from door to door and asked everyone for help. one brought wood, and one brought nails. one brought some {food}.",
                "{h} rang the big bell, and everyone came. \"{f} needs us,\" said {h}.",
            ],
            &[
                "the strong ones carried the wood. the small ones carried the nails. {e} cooked for all of them.",
                "they worked from morning to night. some sang, some told jokes, and nobody was too tired to smile.",
                "the old ones showed the young ones how to do it. {h} worked the hardest of all.",
            ],
            &[
                "after (five|seven|ten) days, the house was done. it was even (stronger|prettier|bigger) than before.",
                "at last, {h} painted the door red. the new house was ready!",
            ],
        ],
        &[
            &[
                "{f} walked through the rooms and could not speak. then {f.he} said, \"I have the best friends in the world.\"",
                "\"how can I ever thank you?\" asked {f}. \"you would do the same for us,\" said {h}.",
                "{f} cried again, but this time {f.he} cried because {f.he} was happy.",
            ],
            &[
                "they had a party with some {food} and music.",
                "{h} learned that together we can do what no one can do alone.",
                "\"a house is made of wood,\" said {e}, \"but a home is made of friends.\"",
            ],
            FRIENDS,
        ],
    ],
};

/// Rain spoils a plan and a better one is found inside.
pub(super) const RAINY_DAY: Plot = Plot {
    name: "rainy day",
    cases: &[
        &[
            ("plan", "have a picnic"),
            ("inside", "put a blanket on the floor and had the picnic in the kitchen"),
        ],
        &[("plan", "sail on the lake"), ("inside", "turned the table over and made it into a ship")],
        &[("plan", "sleep in a tent"), ("inside", "made a tent out of chairs and blankets")],
        &[("plan", "go to the beach"), ("inside", "made a beach with pillows and paper fish")],
        &[("plan", "climb the hill"), ("inside", "built a mountain of pillows and climbed to the top")],
        &[("plan", "go to the circus"), ("inside", "made their own circus with hats and balls")],
    ],
    paragraphs: &[
        &[OPENING, TRAIT],
        &[
            &[
                "tomorrow, {h} and {f} were going to {plan}. {h} could hardly sleep.",
                "{h} had waited all week. on Saturday, {h.he} was going to {plan} with {f}.",
            ],
            &[
                "{e} had packed some {food}. everything was ready.",
                "{h} had put everything in a bag: some {food}, a hat, and @ {thing.adj} {thing}.",
            ],
            &[
                "but in the morning, it was raining. it rained and rained. water ran down the window.",
                "but early in the morning, {h} heard a sound. drip, drip, drop. the sky was gray, and it was raining.",
            ],
            &[
                "\"oh no!\" said {h}. \"now we cannot {plan}. the day is ruined.\"",
                "{h} put {h.his} nose to the window. \"stupid rain,\" {h.he} said.",
                "{h} was so sad that {h.he} did not want to get up.",
            ],
        ],
        &[
            &[
                "there was a knock at the door. it was {f}, all wet, with a big smile. \"are you ready?\" asked {f}.",
                "then {f} came in, wet from the rain and with a big bag. \"I have an idea,\" {f.he} said.",
            ],
            &[
                "\"but it is raining,\" said {h}. \"not in here,\" said {f}.",
                "\"we can do it inside,\" said {f}. \"inside?\" asked {h}, and {h.he} began to smile.",
            ],
            &[
                "so they {inside}. {e} played along, too.",
                "they {inside}. it took all morning, and it was wonderful.",
            ],
            &[
                "they pretended that (the lamp was the sun|the carpet was the sea|there were birds all around). they laughed so hard that it hurt.",
                "\"look, a whale!\" shouted {f}. \"where?\" shouted {h}. it was only a pillow.",
                "they ate some {food} and listened to the rain. now it sounded like music.",
            ],
        ],
        &[
            &[
                "in the evening, the rain stopped, and there was a rainbow. {h} had not even noticed.",
                "\"the rain has stopped,\" said {e}. \"do you want to go out now?\" \"later,\" said {h}. \"we are busy.\"",
            ],
            &[
                "\"this was the best day ever,\" said {h}.",
                "{h} learned that a bad start can have a good end.",
                "\"we do not need the sun to have fun,\" said {f}.",
                "\"I hope that it rains again tomorrow,\" said {h}.",
            ],
            NIGHT,
        ],
    ],
};

/// A meal goes wrong and is saved, or loved as it is.
pub(super) const COOKING: Plot = Plot {
    name: "cooking",
    cases: &[
        &[
            ("dish", "cake"),
            ("verb", "bake"),
            ("wrong", "put in salt instead of sugar"),
            ("result", "it tasted like the sea"),
            ("fix", "made a new one, and {f} read every word of the recipe out loud"),
        ],
        &[
            ("dish", "soup"),
            ("verb", "cook"),
            ("wrong", "put in too much pepper"),
            ("result", "everyone had to sneeze"),
            ("fix", "added some milk and carrots until it was good"),
        ],
        &[
            ("dish", "bread"),
            ("verb", "bake"),
            ("wrong", "forgot it in the oven"),
            ("result", "it was as black as night"),
            ("fix", "cut off the black parts and put honey on the rest"),
        ],
        &[
            ("dish", "jam"),
            ("verb", "cook"),
            ("wrong", "let it boil over"),
            ("result", "it ran all over the floor"),
            ("fix", "cleaned the floor and picked fresh berries"),
        ],
        &[
            ("dish", "pudding"),
            ("verb", "make"),
            ("wrong", "put in blue paint instead of milk"),
            ("result", "nobody could eat it"),
            ("fix", "used it to paint a picture and made a new one"),
        ],
    ],
    paragraphs: &[
        &[OPENING, TRAIT],
        &[
            &[
                "one {sky} {hour}, {e} was (tired|sick|sad). \"I will {verb} some {dish} for {e},\" said {h}. \"that will help.\"",
                "it was the birthday of {e}. {h} and {f} wanted to {verb} some {dish} as a surprise.",
            ],
            &[
                "{f} came to help. they put on hats like real cooks.",
                "\"do you know how to {verb} {dish}?\" asked {f}. \"how hard can it be?\" said {h}.",
            ],
            &[
                "they (mixed|measured) and (stirred|tasted). soon there was flour everywhere.",
                "{h} sang while {h.he} worked, and {f} (danced|hummed) along.",
            ],
        ],
        &[
            &[
                "but {h} was not careful. {h.he} {wrong}, and {result}.",
                "then something went wrong. {h} {wrong}. {result}!",
            ],
            &[
                "\"oh no, it is ruined,\" said {h}. {h.his} eyes filled with tears.",
                "{h} and {f} looked at each other. \"what now?\" asked {f}.",
                "{h} wanted to throw it all away.",
            ],
            &[
                "\"everyone makes mistakes,\" said {f}. \"(let us try again|we can fix this).\"",
                "{f} thought about it. \"it is not too late,\" {f.he} said.",
            ],
            &["so they {fix}.", "they took a deep breath. then they {fix}."],
        ],
        &[
            &[
                "when {e} came in, {e.he} saw the table, the candles, and the {dish}. \"for me?\" {e.he} asked.",
                "they brought the {dish} to {e}. {e.he} took a bite, and they waited.",
            ],
            &[
                "\"this is the best {dish} I have ever had,\" said {e}, and {e.he} meant it.",
                "{e} laughed when {e.he} heard the story. \"it tastes like love,\" {e.he} said.",
                "{e} ate it all up and felt much better.",
            ],
            &[
                "then they all cleaned the kitchen together. that took a long time!",
                "{h} learned that a mistake is not the end.",
                "\"next time we will read first and cook later,\" said {h}.",
                "{h} and {f} were proud cooks that day.",
            ],
            NIGHT,
        ],
    ],
};
