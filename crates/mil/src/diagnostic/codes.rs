//! Every diagnostic there is, with an explanation of each.
//!
//! Numbers are stable: a code is never given another meaning and never reused. 1–99 are the text's, 100–199 names and
//! literals, 200–499 the verifier's, 500–599 weight files', 600–699 rules of
//! chips.

use std::fmt;

/// The stable number of a kind of diagnostic, written `MIL0012`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u16);

impl Code {
    /// The code written `MIL0012`, `mil12` or `12`, if there is such a diagnostic.
    pub fn parse(text: &str) -> Option<Code> {
        let digits = text.get(..3).filter(|p| p.eq_ignore_ascii_case("mil")).map_or(text, |_| &text[3..]);
        let code = Code(digits.parse().ok()?);
        code.row().map(|_| code)
    }

    /// A few words that say what it is about, e.g. `undefined name`.
    pub fn title(self) -> &'static str {
        self.row().map_or("unknown diagnostic", |row| row.1)
    }

    /// What it means and what to do, for `ferrane mil explain`.
    pub fn explanation(self) -> &'static str {
        self.row().map_or("There is no diagnostic with this code.", |row| row.2)
    }

    /// Every code, in order.
    pub fn all() -> impl Iterator<Item = Code> {
        TABLE.iter().map(|row| row.0)
    }

    fn row(self) -> Option<&'static (Code, &'static str, &'static str)> {
        TABLE.binary_search_by_key(&self, |row| row.0).ok().map(|i| &TABLE[i])
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MIL{:04}", self.0)
    }
}

macro_rules! codes {
    ($($name:ident = $number:literal, $title:literal, $explanation:literal;)*) => {
        impl Code {
            $(#[doc = $title] pub const $name: Code = Code($number);)*
        }

        const TABLE: &[(Code, &str, &str)] = &[$((Code($number), $title, $explanation),)*];
    };
}

codes! {
    // The text.
    NOT_UTF8 = 1, "text is not UTF-8",
        "MIL text is UTF-8. A file with other bytes is probably a compiled model or a weight file: give the `.mil` text \
         or the folder that holds `model.mil`.";
    SYNTAX = 2, "unexpected token",
        "The text does not follow the grammar of MIL: `program(1.3) [attributes] { func main<ios18>(type name, …) { \
         type name = op(argument = value, …)[name = string(\"…\")]; … } -> (name, …); }`. Reading goes on at the next `;`.";
    UNTERMINATED = 3, "unterminated string or comment",
        "A string must end on the line it begins on (write a line break as \\n), a `/*` comment must be closed by `*/`.";
    BAD_ESCAPE = 4, "unknown escape in a string",
        "In strings, \\\" \\\\ \\n \\r \\t and \\xHH (two hexadecimal digits, below 80) have a meaning after the backslash.";
    TOO_DEEP = 5, "nesting too deep",
        "Types, lists and dictionaries may be nested 64 deep. Programs that compilers write stay below ten.";
    TOO_LARGE = 6, "text too large",
        "A MIL text may have at most 4 GiB. Keep weights in weight files (BLOBFILE) and not in the text.";
    TOO_MANY = 7, "too many errors",
        "Reading stopped because there were so many errors that the text is probably not MIL, or an early error (such as a \
         missing brace) made the rest unreadable. Mend the first ones and try again.";
    BLOCK = 8, "nested block",
        "The bodies of `cond` and `while_loop` are blocks inside a statement. Programs with control flow are not \
         supported; the Neural Engine does not run them either.";
    VERSION = 9, "unsupported program version",
        "Versions 1.0, 1.3 and 1.5 of `program(…)` are known. Another minor version is read with a warning, another major \
         version is refused.";
    OPSET = 10, "unknown op set",
        "A function names the op set it is written against: `func main<ios18>`, one of ios15, ios16, ios17, ios18, ios26 \
         (or CoreML5 to CoreML9, as packages name them).";
    FLEXIBLE = 11, "flexible dimension",
        "A dimension is `?`: its extent is known only when the model runs. All shapes must be known here, as the Neural \
         Engine's compiler demands. Export the model with fixed shapes, or write the extent in place of `?`.";
    SHAPE_OVERFLOW = 12, "shape too large",
        "The extents of a tensor multiply to more bytes than a 64-bit signed number can hold. It is a typing mistake or a \
         hostile file.";
    RANK = 13, "rank too high",
        "A tensor type has more than 16 dimensions. MIL allows five.";
    NO_FUNCTION = 14, "program without functions",
        "A program needs at least one function, and the one that runs is called `main`.";

    // Names and literals.
    UNKNOWN_OP = 100, "unknown op",
        "There is no op of this name in MIL. `ferrane mil ops` lists the ops there are.";
    UNDEFINED = 101, "undefined name",
        "An argument or output names a value that no input or op of the function defines.";
    USED_BEFORE_DEFINITION = 102, "name used before its definition",
        "Ops are in execution order: a value must be defined by a statement above the one that uses it.";
    DUPLICATE = 103, "name defined twice",
        "Every value of a function has its own name: each name may be defined once, inputs included. Functions of a program, \
         arguments of an op and attributes in one pair of brackets have distinct names likewise.";
    UNKNOWN_TYPE = 104, "unknown type",
        "Types are element types (`fp16`, `int32`, `bool`, `string`, …), `tensor<element, [extents]>`, `list<type, length>`, \
         `tuple<types>`, `dict<key, value>` and `state<tensor>`.";
    LITERAL_TYPE = 105, "literal of the wrong type",
        "A literal does not suit its type: a word where a number is meant, a fraction in an integer tensor, a string in a \
         numeric one.";
    LITERAL_RANGE = 106, "literal out of range",
        "A number does not fit its element type, e.g. int8(300). For floating-point types this is a warning: the value \
         becomes infinite.";
    LITERAL_SHAPE = 107, "literal of the wrong shape",
        "A tensor literal must have as many elements as its type says, in one flat list or in nested lists that follow the \
         shape: tensor<int32, [2, 2]>([[1, 2], [3, 4]]).";
    HEX_INTEGER = 108, "hexadecimal integer as a floating-point number",
        "A floating-point literal such as fp16(0x3C00) is read as the number 15360, as the C library reads it, and not as the \
         bits of an fp16. Write 0x1p+0 (with an exponent) for a value given in hexadecimal.";
    CONST_VALUE = 109, "const without a value",
        "A `const` op needs the attribute `val`: `int32 g = const()[name = string(\"g\"), val = int32(1)];`.";
    CONST_TYPE = 110, "const declared with another type",
        "The type before the name of a const and the type of its `val` must be the same.";
    NAME_ATTRIBUTE = 111, "bad name attribute",
        "The attribute `name` must be a string: [name = string(\"conv_0\")].";
    BLOB_REFERENCE = 112, "malformed BLOBFILE",
        "A reference to a weight file is BLOBFILE(path = string(\"@model_path/weights/w.bin\"), offset = uint64(64)); both \
         arguments are needed and the offset is that of the chunk's 64-byte metadata.";

    // The verifier.
    NO_ENTRY = 200, "no entry function",
        "The function that runs is called `main`. A program with one function of another name runs that one; a program with \
         several needs one called `main`.";
    MISSING_ARGUMENT = 201, "missing argument",
        "An argument without a default is not given. `ferrane mil ops` lists the arguments of every op.";
    ARGUMENT_KIND = 202, "argument of the wrong kind",
        "An argument is not of the kind the op takes: a computed value where a constant is meant, a tuple where one value is \
         meant, a string where a number is meant.";
    ARGUMENT_FIT = 203, "arguments that do not fit together",
        "Each argument is of the right kind, but together they make no sense: extents that do not broadcast, channels that do \
         not agree, an axis outside the shape, more or fewer results than the op has.";
    RESULT_TYPE = 204, "result declared with another type",
        "The type before the name of a result must be the type the op gives: its shape and element type follow from the \
         arguments. Correct the declaration, or the arguments if the declaration is what was meant.";
    CONSTANT_ELEMENTS = 205, "constant that does not match its type",
        "A constant needs as many elements as its type has, each of its element type.";
    NO_OUTPUTS = 206, "function without outputs",
        "A function that returns nothing computes nothing. Name at least one value in `-> (…)`.";
    NOT_IN_CATALOGUE = 207, "op that is only parsed",
        "The op belongs to MIL, but its arguments and result are not known here, so a program that uses it can be read and \
         printed but neither checked nor run.";

    // Weight files.
    WEIGHT_FILE = 500, "weight that cannot be read",
        "A BLOBFILE names a file in the folder of the text (`@model_path/`) and the offset of a chunk's 64-byte metadata in it. \
         The file must be there, must not lie outside that folder, and the chunk must have the type and size of the constant.";

    // Rules of chips.
    CHIP_RULE = 600, "rule of a chip",
        "The program is valid MIL, but the chip's compiler or the system around it is known not to take it, or to do something \
         else than it says. The rule's name stands in parentheses: `ferrane mil explain NAME` tells the condition, what \
         happens, how sure that is and who found it. Rules that rest on one anecdote or that other sources contradict are notes.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_without_gaps_in_meaning() {
        assert!(TABLE.windows(2).all(|w| w[0].0 < w[1].0), "codes must ascend");
        for code in Code::all() {
            assert!(!code.title().is_empty() && code.explanation().ends_with('.'), "{code}");
        }
    }

    #[test]
    fn codes_are_found_in_every_spelling() {
        assert_eq!(Code::parse("MIL0101"), Some(Code::UNDEFINED));
        assert_eq!(Code::parse("mil101"), Some(Code::UNDEFINED));
        assert_eq!(Code::parse("101"), Some(Code::UNDEFINED));
        assert_eq!(Code::parse("MIL9999"), None);
        assert_eq!(Code::parse("é"), None);
        assert_eq!(Code::UNDEFINED.to_string(), "MIL0101");
    }
}
