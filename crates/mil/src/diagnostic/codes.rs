//! Every diagnostic there is, with an explanation of each.
//!
//! Numbers are stable: a code is never given another meaning and never reused. 1–99 are the text's, 100–199 names and
//! literals, 200–499 the verifier's, 500–599 weight files' and packages', 600–699 rules of
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

    TOO_NEW = 208, "op newer than the op set",
        "A function may only use ops of the op set it is written against, `func main<ios17>`, and of earlier ones. Name a \
         later op set (the model then needs a later system), or write the op with older ones. `ferrane mil ops` tells what \
         came when. Arguments that an op was given later are not told apart.";
    UNKNOWN_ARGUMENT = 209, "argument the op does not have",
        "An argument has a name that the op does not know: a typing mistake, or an argument of another op. \
         `ferrane mil ops NAME` lists the arguments of an op.";

    // Weight files and packages.
    WEIGHT_FILE = 500, "weight that cannot be read",
        "A BLOBFILE names a file in the folder of the text (`@model_path/`) and the offset of a chunk's 64-byte metadata in it. \
         The file must be there, must not lie outside that folder, and the chunk must have the type and size of the constant.";
    BLOB_HEADER = 501, "weight file without its header",
        "A weight file begins with 64 bytes: the number of chunks and the version, 2, each a 32-bit number, then zeros. The \
         file is cut off, is of another version, or begins with the metadata of a chunk (0xDEADBEEF), as files do whose \
         writer left out the header.";
    BLOB_OFFSET = 502, "no chunk at the offset",
        "The offset in a BLOBFILE is that of a chunk's 64 bytes of metadata, which begin with 0xDEADBEEF; \
         the first is at 64. There is no chunk where this one points.";
    BLOB_OFFSET_OF_DATA = 503, "offset of the data instead of the metadata",
        "The offset in a BLOBFILE is that of a chunk's metadata. This one points at the chunk's data, 64 bytes further on: \
         the compiler would read weights as metadata. Subtract 64.";
    BLOB_METADATA = 504, "damaged chunk metadata",
        "A chunk's metadata are: 0xDEADBEEF, the element type's code (32 bits each), the bytes of data, the offset of the \
         data, the unused bits of the last byte (64 bits each). One of these cannot be: an unknown type, data outside the \
         file or in the metadata, chunks that overlap, more chunks counted than there are.";
    BLOB_UNFILLED = 505, "chunk metadata that were not filled in",
        "Some writers put one byte at position 10 of the metadata and nothing else: the size then reads as 512 KiB or 1 MiB \
         whatever the data is, and the data offset as 0. Write the size as a 64-bit number at 8 and the data offset at 16.";
    BLOB_TYPE = 506, "weight of another element type",
        "The chunk's element type is another one than the constant's. Mend the type in the text, or write the file again; \
         files that label int8 data as fp16 exist.";
    BLOB_SIZE = 507, "weight of another size",
        "The chunk has not as many elements as the constant's shape. Mend the shape in the text or the offset, or write the \
         file again.";
    BLOB_WRITE = 508, "weight that cannot be written",
        "Weight files hold fp16, bf16, fp32, fp8 and integers of 1 to 32 bits, each within the range of its type. Bools, \
         strings and 64-bit numbers have to stay in the text.";
    BLOB_PATH = 509, "weight path that leaves the folder",
        "Paths of weight files begin with `@model_path/`, the folder of the text, and stay inside it: no `..`, no absolute \
         path, no drive. This protects whoever runs a program of unknown origin.";
    PACKAGE = 520, "not a Core ML model",
        "A model is a folder `.mlpackage` with `Manifest.json` and what that names, or a file `.mlmodel`. This is neither, or \
         its manifest or model file cannot be read.";
    PACKAGE_KIND = 521, "model of another kind than ML program",
        "Only ML programs hold MIL. A neural network or a tree ensemble has to be converted again from its original, with \
         `convert_to=\"mlprogram\"`.";
    PACKAGE_UNSUPPORTED = 522, "package uses what cannot be represented",
        "Programs here have known shapes and neither states nor control flow. The message names what is in the way and how to \
         convert the model without it.";
    PACKAGE_OPS = 523, "package with unknown ops",
        "The package uses ops that are no ops of MIL known here: newer ones or custom ones.";
    PACKAGE_INVALID = 524, "package that contradicts itself",
        "A value is missing, is defined twice or is not what its type says. The package was damaged or written by a program \
         with a mistake.";
    PACKAGE_WEIGHT = 525, "weight of a package that cannot be read",
        "A weight is not where the program says, or is not of the type and size it says. The weight file probably belongs to \
         another version of the model.";
    PACKAGE_PATH = 526, "path that leads out of the package",
        "A path in the manifest leads out of the package, or to something that is no file. It is not followed.";
    PACKAGE_TOO_LARGE = 527, "model file too large",
        "A model file may have 512 MiB, and as many messages as take 1 GiB in memory: weights are in a file of their own, and \
         honest models stay far below.";
    PACKAGE_EXISTS = 528, "package that is there already",
        "Something has the name of the package that is to be written. `--overwrite` replaces it.";
    PACKAGE_IO = 529, "package that the system does not let read or write",
        "The operating system refused; the message says what it said.";

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
