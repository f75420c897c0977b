//! Literals: scalars, tensors, references to weight files, dictionaries, lists.

use super::lexer::{Kind, Token, unescape};
use super::number::{self, Number, Trouble};
use super::parser::{Parse, Parser};
use super::types::MOST_DIMENSIONS;
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::{Attr, Constant, DType, Data, Payload, TensorType, Type};

impl<'a> Parser<'a> {
    /// `type(value)` where the type may be of any kind.
    pub(super) fn typed_attr(&mut self) -> Parse<Attr> {
        let ty = self.ty()?;
        self.expect(b'(', "`(` and a value of the type")?;
        let attr = self.attr_value(ty)?;
        self.expect(b')', "`)` after the value")?;
        Ok(attr)
    }

    /// `type(value)` of a tensor type.
    pub(super) fn typed_constant(&mut self) -> Parse<(Constant, Span)> {
        let start = self.token.span;
        match self.typed_attr()? {
            Attr::Constant(constant) => Ok((constant, self.since(start))),
            Attr::Dict(ty, _) | Attr::List(ty, _) => {
                let message = format!("a tensor or scalar is needed here, this is a `{ty}`");
                let d = Diagnostic::error(Code::LITERAL_TYPE, message).label(self.since(start), "");
                self.fail(d)
            }
        }
    }

    /// The value of a literal, inside its parentheses.
    fn attr_value(&mut self, ty: Type) -> Parse<Attr> {
        match ty {
            Type::Tensor(ty) => Ok(Attr::Constant(self.constant_value(ty)?)),
            Type::Dict(key, value) => self.nested(|p| p.dict_value(*key, *value)),
            Type::List(..) | Type::Tuple(_) => self.nested(|p| p.list_value(ty)),
            Type::State(_) => {
                let d = Diagnostic::error(Code::LITERAL_TYPE, "a state has no literal");
                let d = d.label(self.token.span, "");
                self.fail(d)
            }
        }
    }

    /// `{{key, value}, …}`
    fn dict_value(&mut self, key: Type, value: Type) -> Parse<Attr> {
        let mut entries = Vec::new();
        if !self.token.is(b')') {
            self.expect(b'{', "`{` and the entries of the dictionary")?;
            while !self.token.is(b'}') {
                self.expect(b'{', "`{key, value}`")?;
                let place = self.token.span;
                let Attr::Constant(k) = self.element(&key)? else {
                    let d = Diagnostic::error(Code::LITERAL_TYPE, "a key must be a scalar").label(place, "");
                    return self.fail(d);
                };
                self.expect(b',', "`,` and the value")?;
                let v = self.element(&value)?;
                self.expect(b'}', "`}` after the value")?;
                entries.push((k, v));
                if !self.separator(b'}', "`,` or `}` after an entry")? {
                    break;
                }
            }
            self.expect(b'}', "`}` after the entries")?;
        }
        Ok(Attr::Dict(Type::Dict(Box::new(key), Box::new(value)), entries))
    }

    /// `[a, b]` or `(a, b)`; nothing at all is an empty list.
    fn list_value(&mut self, ty: Type) -> Parse<Attr> {
        let mut elements = Vec::new();
        let close = match self.token.kind {
            Kind::Punct(b'[') => b']',
            Kind::Punct(b'(') => b')',
            Kind::Punct(b')') => return Ok(Attr::List(ty, elements)),
            _ => {
                let d = self.unexpected("`[` or `(` and the elements");
                return self.fail(d);
            }
        };
        let start = self.bump();
        while !self.token.is(close) {
            let element = match &ty {
                Type::List(element, _) => element,
                Type::Tuple(types) => match types.get(elements.len()) {
                    Some(element) => element,
                    None => return self.wrong_length(start.span, &ty),
                },
                // Only lists and tuples come here.
                _ => return self.wrong_length(start.span, &ty),
            };
            elements.push(self.element(element)?);
            if !self.separator(close, "`,` or the end of the list")? {
                break;
            }
        }
        self.expect(close, "the end of the list")?;
        let complete = match &ty {
            Type::List(_, Some(length)) => elements.len() == *length,
            Type::Tuple(types) => elements.len() == types.len(),
            _ => true,
        };
        if !complete {
            return self.wrong_length(start.span, &ty);
        }
        Ok(Attr::List(ty, elements))
    }

    fn wrong_length<T>(&mut self, start: Span, ty: &Type) -> Parse<T> {
        let message = format!("the literal has another number of elements than `{ty}`");
        let d = Diagnostic::error(Code::LITERAL_SHAPE, message).label(self.since(start), "");
        self.fail(d)
    }

    /// An element of a dictionary or list of `ty`: its bare value, or a literal that names a type of its own.
    fn element(&mut self, ty: &Type) -> Parse<Attr> {
        let word = self.token.kind == Kind::Ident;
        if word && !matches!(self.text(self.token), "true" | "false" | "inf" | "nan" | "BLOBFILE") {
            self.count_elements(1)?;
            return self.nested(Self::typed_attr);
        }
        // Lists and dictionaries keep their type, which costs as much as it has parts.
        self.count_elements(1 + parts(ty))?;
        self.attr_value(ty.clone())
    }

    /// The value of a tensor literal: a scalar, a list, or a place in a weight file.
    fn constant_value(&mut self, ty: TensorType) -> Parse<Constant> {
        if self.at_keyword("BLOBFILE") {
            return self.blob_reference(ty);
        }
        let start = self.token.span;
        let elements = ty.elements();
        // A hostile type may claim any size; a literal cannot have more elements than there are bytes to come.
        let mut data = number::empty_data(ty.dtype, elements.min(self.lexer.remaining() / 2 + 1));
        let mut overflow = None;
        if self.token.is(b'[') {
            self.list(&ty, &mut data, &mut overflow)?;
        } else {
            if !ty.shape.is_empty() {
                let message = format!("`{ty}` needs a list of {elements} elements");
                let d = Diagnostic::error(Code::LITERAL_SHAPE, message).label(start, "");
                return self.fail(d.help(format!("write `{ty}([…])`")));
            }
            self.scalar(&ty, &mut data, &mut overflow)?;
        }
        if let Some(place) = overflow {
            let message = format!("{} becomes infinite in {}", place.text(self.source), ty.dtype);
            self.report(
                Diagnostic::warning(Code::LITERAL_RANGE, message)
                    .label(place, "")
                    .help("write `inf` if it is meant"),
            );
        }
        Ok(Constant::inline(ty, data))
    }

    /// `[…]`, nested as deep as the type's rank or flat.
    fn list(&mut self, ty: &TensorType, data: &mut Data, overflow: &mut Option<Span>) -> Parse<()> {
        let start = self.token.span;
        let rank = ty.shape.len();
        let mut counts = [0usize; MOST_DIMENSIONS];
        let mut depth = 0;
        // Depth at which the elements are, once one was seen: the rank, or 1 for a flat list.
        let mut leaf = None;
        loop {
            // Before an element or an inner list.
            if self.token.is(b'[') {
                if depth == rank || leaf == Some(depth) {
                    return self.wrong_shape(start, ty, "nested deeper than the shape");
                }
                self.bump();
                counts[depth] = 0;
                depth += 1;
                if !self.token.is(b']') {
                    continue;
                }
            } else {
                match leaf {
                    None if depth == rank || depth == 1 => leaf = Some(depth),
                    Some(leaf) if leaf == depth => {}
                    _ => return self.wrong_shape(start, ty, "nested unevenly"),
                }
                self.scalar(ty, data, overflow)?;
                counts[depth - 1] += 1;
                if data.len() > ty.elements() {
                    return self.wrong_shape(start, ty, "too many elements");
                }
            }
            // After an element, or inside an empty list.
            while self.token.is(b']') {
                let empty = depth == 1 && counts[0] == 0 && ty.elements() == 0;
                let flat = leaf == Some(1) && rank != 1 || empty;
                if !flat && counts[depth - 1] != ty.shape[depth - 1] {
                    let message = format!(
                        "{} elements along axis {} of extent {}",
                        counts[depth - 1],
                        depth - 1,
                        ty.shape[depth - 1]
                    );
                    return self.wrong_shape(start, ty, &message);
                }
                self.bump();
                depth -= 1;
                if depth == 0 {
                    if data.len() != ty.elements() {
                        let message = format!("{} elements, not {}", data.len(), ty.elements());
                        return self.wrong_shape(start, ty, &message);
                    }
                    return Ok(());
                }
                counts[depth - 1] += 1;
            }
            self.expect(b',', "`,` or `]` after an element")?;
        }
    }

    fn wrong_shape<T>(&mut self, start: Span, ty: &TensorType, why: &str) -> Parse<T> {
        let span = Span { start: start.start, end: self.token.span.end };
        let message = format!("the literal does not have the shape of `{ty}`: {why}");
        let d = Diagnostic::error(Code::LITERAL_SHAPE, message).label(span, "");
        self.fail(d.help("write the elements in one flat list, or in lists nested as the shape says"))
    }

    /// One element.
    #[inline]
    fn scalar(&mut self, ty: &TensorType, data: &mut Data, overflow: &mut Option<Span>) -> Parse<()> {
        let token = self.token;
        let text = self.text(token);
        let outcome = match (&mut *data, token.kind) {
            (Data::String(v), Kind::Str) => {
                let text = self.string(token)?;
                v.push(text);
                Ok(false)
            }
            (Data::Bool(v), Kind::Ident) if text == "true" || text == "false" => {
                v.push(text == "true");
                Ok(false)
            }
            (Data::Bool(_) | Data::String(_), _) => Err(Trouble::Malformed),
            (_, Kind::Ident | Kind::Number)
                if matches!(text, "nan" | "-nan") && ty.dtype.is_float() && self.peek().is(b'(') =>
            {
                return self.nan_pattern(ty.dtype, data);
            }
            (_, Kind::Number) => number::push(data, ty.dtype, text),
            (_, Kind::Ident) if matches!(text, "inf" | "nan") => number::push(data, ty.dtype, text),
            _ => Err(Trouble::Malformed),
        };
        match outcome {
            Ok(overflowed) => {
                let hex_integer = token.kind == Kind::Number
                    && ty.dtype.is_float()
                    && text.contains(['x', 'X'])
                    && !text.contains(['p', 'P', '.']);
                if hex_integer {
                    self.warn_hex_integer(token, ty.dtype);
                }
                if overflowed {
                    *overflow = overflow.or(Some(token.span));
                }
                self.bump();
                Ok(())
            }
            Err(trouble) => self.bad_scalar(token, ty.dtype, trouble),
        }
    }

    #[cold]
    fn bad_scalar(&mut self, token: Token, dtype: DType, trouble: Trouble) -> Parse<()> {
        if !matches!(token.kind, Kind::Ident | Kind::Number | Kind::Str) {
            let d = self.unexpected(&format!("a value of type {dtype}"));
            return self.fail(d);
        }
        let text: String = self.text(token).chars().take(60).collect();
        let (code, message) = match trouble {
            Trouble::OutOfRange => (Code::LITERAL_RANGE, format!("{text} is outside the range of {dtype}")),
            Trouble::NotInteger => {
                (Code::LITERAL_TYPE, format!("{text} is not a whole number, as {dtype} needs"))
            }
            Trouble::Malformed => (Code::LITERAL_TYPE, format!("`{text}` is not a value of type {dtype}")),
        };
        let mut d = Diagnostic::error(code, message).label(token.span, "");
        if dtype == DType::Bool {
            d = d.help("a bool is `true` or `false`");
        }
        self.fail(d)
    }

    #[cold]
    fn warn_hex_integer(&mut self, token: Token, dtype: DType) {
        let text = self.text(token);
        let value = number::parse_float(text).unwrap_or(f64::NAN);
        let message = format!("{text} is read as the number {value}, not as the bits of an {dtype}");
        self.report(
            Diagnostic::warning(Code::HEX_INTEGER, message)
                .label(token.span, "")
                .help("write the value with an exponent, e.g. 0x1p+0"),
        );
    }

    /// `nan(0x7e01)`: a NaN with its bit pattern.
    #[cold]
    fn nan_pattern(&mut self, dtype: DType, data: &mut Data) -> Parse<()> {
        self.bump();
        self.expect(b'(', "`(` and the bits of the NaN")?;
        let token = self.token;
        let bits = number::parse_int(self.text(token)).ok().and_then(|b| u64::try_from(b).ok());
        let pushed = bits.map(|bits| number::push_number(data, dtype, Number::NanBits(bits)));
        let Some(Ok(_)) = pushed else {
            return self.bad_scalar(token, dtype, Trouble::OutOfRange);
        };
        self.bump();
        self.expect(b')', "`)` after the bits")?;
        Ok(())
    }

    /// The text of a string token, which is not taken.
    pub(super) fn string(&mut self, token: Token) -> Parse<String> {
        match unescape(self.text(token)) {
            Ok(text) => Ok(text),
            Err(range) => {
                let start = token.span.start as usize;
                let span = Span::new(start + range.start, start + range.end);
                let message = format!("there is no escape `{}`", span.text(self.source));
                let d = Diagnostic::error(Code::BAD_ESCAPE, message).label(span, "");
                self.fail(d.help("write a backslash as `\\\\`"))
            }
        }
    }

    /// `BLOBFILE(path = string("…"), offset = uint64(64))`
    fn blob_reference(&mut self, ty: TensorType) -> Parse<Constant> {
        let start = self.bump().span;
        self.expect(b'(', "`(` and the place in the weight file")?;
        let (mut path, mut offset) = (None, None);
        while !self.token.is(b')') {
            let (name, place) = self.ident("`path` or `offset`")?;
            self.expect(b'=', "`=`")?;
            let (value, span) = self.typed_constant()?;
            let taken = match name {
                "path" => value.as_str().map(|p| path.replace(p.to_string()).is_none()),
                "offset" => {
                    let number = value.as_int().and_then(|o| u64::try_from(o).ok());
                    // Offsets beyond i64 are still numbers; the reader of the file refuses them.
                    let number = number.or_else(|| match value.data() {
                        Some(Data::Uint(v)) => v.first().copied(),
                        _ => None,
                    });
                    number.map(|o| offset.replace(o).is_none())
                }
                _ => {
                    let message = format!("BLOBFILE has no argument `{name}`");
                    let d = Diagnostic::error(Code::BLOB_REFERENCE, message).label(place, "");
                    return self.fail(d.help("it takes `path` and `offset`"));
                }
            };
            match taken {
                Some(true) => {}
                Some(false) => {
                    let message = format!("`{name}` is given twice");
                    let d = Diagnostic::error(Code::BLOB_REFERENCE, message).label(place, "");
                    return self.fail(d);
                }
                None => {
                    let needed = if name == "path" { "a string" } else { "a whole number" };
                    let message = format!("`{name}` of BLOBFILE must be {needed}");
                    let d = Diagnostic::error(Code::BLOB_REFERENCE, message).label(span, "");
                    return self.fail(d);
                }
            }
            if !self.separator(b')', "`,` or `)`")? {
                break;
            }
        }
        self.expect(b')', "`)` after the place")?;
        match (path, offset) {
            (Some(path), Some(offset)) => Ok(Constant::blob(ty, path, offset)),
            (path, _) => {
                let missing = if path.is_none() { "path" } else { "offset" };
                let message = format!("BLOBFILE without `{missing}`");
                let d = Diagnostic::error(Code::BLOB_REFERENCE, message).label(self.since(start), "");
                let form = "BLOBFILE(path = string(\"@model_path/weights/w.bin\"), offset = uint64(64))";
                self.fail(d.help(format!("write {form}")))
            }
        }
    }

    /// A literal without a type in the place of an argument, e.g. `transpose_y = true` or `begin = [0, 0]`. Whole numbers are
    /// int32; other numbers come back as fp64, for the caller to give them the type of the op's operands.
    pub(super) fn bare_literal(&mut self) -> Parse<Constant> {
        let list = self.token.is(b'[');
        let first = if list { self.peek() } else { self.token };
        let dtype = match first.kind {
            Kind::Str => DType::String,
            Kind::Ident => DType::Bool,
            Kind::Number if self.whole_numbers(list) => DType::Int32,
            _ => DType::Fp64,
        };
        let mut overflow = None;
        let mut data = number::empty_data(dtype, 1);
        let scalar = TensorType::scalar(dtype);
        if !list {
            self.scalar(&scalar, &mut data, &mut overflow)?;
            return Ok(Constant::inline(scalar, data));
        }
        self.bump();
        while !self.token.is(b']') {
            self.scalar(&scalar, &mut data, &mut overflow)?;
            if !self.separator(b']', "`,` or `]` after an element")? {
                break;
            }
        }
        self.expect(b']', "`]` after the elements")?;
        // An empty list has no element to take a type from; lists without type are axes and extents.
        let (dtype, data) =
            if data.is_empty() { (DType::Int32, Data::Int(Vec::new())) } else { (dtype, data) };
        Ok(Constant::inline(TensorType::new(dtype, [data.len()]), data))
    }

    /// True when the number looked at, or all of the list's, are whole.
    fn whole_numbers(&self, list: bool) -> bool {
        let whole = |token: Token| number::parse_int(self.text(token)).is_ok();
        if !list {
            return whole(self.token);
        }
        let mut ahead = self.lexer;
        loop {
            let token = ahead.next();
            match token.kind {
                Kind::Number if !whole(token) => return false,
                Kind::Number | Kind::Punct(b',') => {}
                _ => return true,
            }
        }
    }

    /// Gives an untyped number of [`Parser::bare_literal`] its type.
    pub(super) fn retype(constant: &mut Constant, dtype: DType) {
        let Payload::Inline(data) = &constant.payload else { return };
        let Data::Fp64(values) = &**data else { return };
        let mut typed = number::empty_data(dtype, values.len());
        for &value in values {
            // A number that overflows becomes infinite, as everywhere.
            let _ = number::push_number(&mut typed, dtype, Number::Value(value));
        }
        *constant = Constant::inline(TensorType { dtype, shape: constant.ty.shape.clone() }, typed);
    }
}

/// The number of types in a type.
fn parts(ty: &Type) -> usize {
    match ty {
        Type::Tensor(_) => 1,
        Type::List(t, _) | Type::State(t) => 1 + parts(t),
        Type::Tuple(ts) => 1 + ts.iter().map(parts).sum::<usize>(),
        Type::Dict(k, v) => 1 + parts(k) + parts(v),
    }
}
