//! Types in MIL text.

use super::lexer::Kind;
use super::parser::{Parse, Parser};
use crate::diagnostic::{Code, Diagnostic, Span, nearest};
use crate::{DType, TensorType, Type};

/// Dimensions a tensor type may have in text. MIL allows five; literals are counted in arrays of this size.
pub(super) const MOST_DIMENSIONS: usize = 16;

const CONSTRUCTORS: [&str; 5] = ["tensor", "list", "tuple", "dict", "state"];

impl<'a> Parser<'a> {
    /// A type: `fp16`, `tensor<fp16, [1, 4]>`, `list<T, n>`, `tuple<A, B>`, `dict<K, V>`, `state<T>`.
    pub(super) fn ty(&mut self) -> Parse<Type> {
        let start = self.token.span;
        if self.token.kind != Kind::Ident {
            let d = self.unexpected("a type");
            return self.fail(d);
        }
        let token = self.bump();
        match self.text(token) {
            "tensor" => Ok(Type::Tensor(self.tensor(start)?)),
            "list" => self.nested(|p| {
                p.open()?;
                let element = p.ty()?;
                p.expect(b',', "`,` and the length of the list")?;
                let length = if p.token.is(b'?') {
                    p.bump();
                    None
                } else {
                    Some(p.extent()?)
                };
                p.close()?;
                Ok(Type::List(Box::new(element), length))
            }),
            "tuple" => self.nested(|p| {
                p.open()?;
                let mut types = Vec::new();
                while !p.token.is(b'>') {
                    types.push(p.ty()?);
                    if !p.separator(b'>', "`,` or `>` after a type")? {
                        break;
                    }
                }
                p.close()?;
                Ok(Type::Tuple(types))
            }),
            "dict" => self.nested(|p| {
                p.open()?;
                let key = p.ty()?;
                p.expect(b',', "`,` and the type of the values")?;
                let value = p.ty()?;
                p.close()?;
                Ok(Type::Dict(Box::new(key), Box::new(value)))
            }),
            "state" => self.nested(|p| {
                p.open()?;
                let inner = p.ty()?;
                p.close()?;
                Ok(Type::State(Box::new(inner)))
            }),
            name => Ok(Type::Tensor(TensorType::scalar(self.dtype(name, start)?))),
        }
    }

    /// What follows the word `tensor`.
    fn tensor(&mut self, start: Span) -> Parse<TensorType> {
        self.open()?;
        let (name, span) = self.ident("the element type")?;
        let dtype = self.dtype(name, span)?;
        self.expect(b',', "`,` and the shape")?;
        self.expect(b'[', "`[` and the extents")?;
        let mut shape = Vec::new();
        let mut flexible = None;
        while !self.token.is(b']') {
            if self.token.is(b'?') {
                flexible = flexible.or(Some(self.token.span));
                self.bump();
            } else {
                shape.push(self.extent()?);
            }
            if !self.separator(b']', "`,` or `]` after an extent")? {
                break;
            }
        }
        self.expect(b']', "`]` after the extents")?;
        self.close()?;
        let span = self.since(start);
        if let Some(place) = flexible {
            let d = Diagnostic::error(Code::FLEXIBLE, "a dimension is flexible (`?`)").label(place, "");
            return self.fail(d.help("write the extent, or export the model with fixed shapes"));
        }
        if shape.len() > MOST_DIMENSIONS {
            let message = format!("a tensor of rank {}", shape.len());
            let d = Diagnostic::error(Code::RANK, message).label(span, "");
            return self.fail(d.help("MIL allows five dimensions"));
        }
        self.checked(TensorType { dtype, shape }, span)
    }

    /// Refuses a type whose size in bits does not fit a signed 64-bit number.
    fn checked(&mut self, ty: TensorType, span: Span) -> Parse<TensorType> {
        let bits = ty.checked_elements().and_then(|n| n.checked_mul(ty.dtype.bits().max(8)));
        if bits.is_some_and(|b| i64::try_from(b).is_ok()) {
            return Ok(ty);
        }
        let message = format!("the extents of `{ty}` multiply to more than memory can hold");
        let d = Diagnostic::error(Code::SHAPE_OVERFLOW, message).label(span, "");
        self.fail(d)
    }

    fn extent(&mut self) -> Parse<usize> {
        let token = self.token;
        let text = self.text(token);
        if token.kind != Kind::Number || !text.bytes().all(|c| c.is_ascii_digit()) {
            let d = self.unexpected("an extent (a whole number)");
            return self.fail(d);
        }
        self.bump();
        match text.parse() {
            Ok(n) => Ok(n),
            Err(_) => {
                let message = format!("the extent {} is beyond 64 bits", &text[..text.len().min(40)]);
                let d = Diagnostic::error(Code::SHAPE_OVERFLOW, message).label(token.span, "");
                self.fail(d)
            }
        }
    }

    fn dtype(&mut self, name: &str, span: Span) -> Parse<DType> {
        let dtype = match name {
            // Nearly all there are.
            "fp16" => Some(DType::Fp16),
            "int32" => Some(DType::Int32),
            "string" => Some(DType::String),
            _ => DType::from_name(name),
        };
        if let Some(dtype) = dtype {
            return Ok(dtype);
        }
        let shown: String = name.chars().take(40).collect();
        let mut d =
            Diagnostic::error(Code::UNKNOWN_TYPE, format!("there is no type `{shown}`")).label(span, "");
        let common = [("float16", "fp16"), ("half", "fp16"), ("float", "fp32"), ("float32", "fp32")];
        let known = common.iter().find(|(wrong, _)| *wrong == name).map(|(_, right)| *right);
        let names = DType::all().map(DType::name).chain(CONSTRUCTORS);
        if let Some(near) = known.or_else(|| nearest(name, names)) {
            d = d.help(format!("did you mean `{near}`?"));
        }
        self.fail(d)
    }

    fn open(&mut self) -> Parse<()> {
        self.expect(b'<', "`<`").map(drop)
    }

    fn close(&mut self) -> Parse<()> {
        self.expect(b'>', "`>`").map(drop)
    }
}
