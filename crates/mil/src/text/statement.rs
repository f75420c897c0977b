//! Statements: `type name = op(argument = value, …)[name = string("…"), …];`.

use super::lexer::Kind;
use super::names;
use super::parser::{Parse, Parser, Scope};
use crate::diagnostic::{Code, Diagnostic, OpSpans, Span, nearest};
use crate::{Arg, Attr, Constant, DType, Name, Op, Opcode, Operand, Type, ValueId};

/// The right-hand side of a statement.
struct Call {
    /// `None` for an op that does not exist, which has been reported.
    code: Option<Opcode>,
    code_span: Span,
    name: String,
    args: Vec<(Name, Arg)>,
    arg_spans: Vec<Span>,
    attrs: Vec<(String, Attr)>,
    constant: Option<(Constant, Span)>,
    /// Arguments that hold numbers without a type.
    untyped: Vec<usize>,
}

impl<'a> Parser<'a> {
    pub(super) fn statement(&mut self, scope: &mut Scope<'a>) -> Parse<()> {
        let start = self.token.span;
        let results = match self.results() {
            Ok(results) => results,
            Err(failed) => {
                scope.incomplete = true;
                return Err(failed);
            }
        };
        let first = results.first().map(|r| r.0);
        let call = self.call(scope, first);
        // Names are defined after the arguments were looked up, and even when those were wrong.
        let declared = results.len();
        let mut ids: Vec<ValueId> = Vec::with_capacity(declared);
        for (name, span, ty) in results {
            ids.extend(self.define(scope, name, span, ty));
        }
        let mut call = call?;
        if self.token.is(b'{') {
            let message = format!("`{}` has a nested block", call.code_span.text(self.source));
            self.report(
                Diagnostic::error(Code::BLOCK, message)
                    .label(self.token.span, "")
                    .help("programs with control flow are not supported"),
            );
            while self.token.is(b'{') {
                self.skip_block();
                if self.token.is(b',') {
                    self.bump();
                }
            }
        }
        if self.token.is(b';') {
            self.bump();
        } else {
            let d = self.unexpected("`;` after the statement");
            let gap = self.gap();
            return self.fail(d.label(gap, "the statement ends here"));
        }
        let Some(code) = call.code else { return Ok(()) };
        if code == Opcode::Const && ids.len() == declared {
            self.check_const(scope, &call, ids.first().copied());
        }
        if let Some((constant, _)) = call.constant.take()
            && let Some(id) = ids.first()
        {
            scope.function.values[id.index()].constant = Some(constant);
        }
        self.give_types(scope, &mut call);
        scope.spans.ops.push(OpSpans {
            statement: self.since(start),
            code: call.code_span,
            first_arg: scope.spans.args.len() as u32,
            args: call.args.len() as u32,
        });
        scope.spans.args.append(&mut call.arg_spans);
        let Call { name, args, attrs, .. } = call;
        scope.function.ops.push(Op { code, name, args, results: ids, attrs });
        Ok(())
    }

    /// `type name, type name =`, perhaps in parentheses; nothing for an op without results.
    fn results(&mut self) -> Parse<Vec<(&'a str, Span, Type)>> {
        let mut results = Vec::new();
        if self.token.kind == Kind::Ident && self.peek().is(b'(') {
            return Ok(results);
        }
        let parenthesised = self.token.is(b'(');
        if parenthesised {
            self.bump();
        }
        loop {
            let ty = self.ty()?;
            let (name, span) = self.ident("the name of the result")?;
            results.push((name, span, ty));
            if !self.token.is(b',') {
                break;
            }
            self.bump();
        }
        if parenthesised {
            self.expect(b')', "`,` or `)` after a result")?;
        }
        self.expect(b'=', "`=` and an op")?;
        Ok(results)
    }

    /// `op(arguments)[attributes]`; `first` is the first result's name.
    fn call(&mut self, scope: &mut Scope<'a>, first: Option<&'a str>) -> Parse<Call> {
        let (word, code_span) = self.ident("the name of an op")?;
        let code = Opcode::from_name(word);
        if code.is_none() {
            let shown: String = word.chars().take(60).collect();
            let message = format!("there is no op `{shown}`");
            let mut d = Diagnostic::error(Code::UNKNOWN_OP, message).label(code_span, "");
            if let Some(near) = nearest(word, Opcode::all().map(Opcode::name)) {
                d = d.help(format!("did you mean `{near}`?"));
            }
            self.report(d);
        }
        let mut call = Call {
            code,
            code_span,
            name: String::new(),
            args: Vec::with_capacity(2),
            arg_spans: Vec::with_capacity(2),
            attrs: Vec::new(),
            constant: None,
            untyped: Vec::new(),
        };
        self.arguments(scope, &mut call)?;
        if self.token.is(b'[') {
            self.op_attributes(&mut call, first)?;
        }
        Ok(call)
    }

    /// `(name = operand, …)`
    fn arguments(&mut self, scope: &mut Scope<'a>, call: &mut Call) -> Parse<()> {
        self.expect(b'(', "`(` and the arguments")?;
        while !self.token.is(b')') {
            let (name, span) = self.ident("the name of an argument")?;
            self.expect(b'=', "`=` after the name of the argument")?;
            let arg = if self.token.is(b'(') {
                self.bump();
                let mut many = Vec::new();
                while !self.token.is(b')') {
                    many.extend(self.operand(scope, call)?);
                    if !self.separator(b')', "`,` or `)` after an operand")? {
                        break;
                    }
                }
                self.expect(b')', "`)` after the operands")?;
                Some(Arg::Many(many))
            } else {
                self.operand(scope, call)?.map(Arg::One)
            };
            self.check_number(call.args.len())?;
            // An operand that is not defined leaves the argument out; the program is refused anyway.
            if let Some(arg) = arg {
                self.add_argument(call, name, span, arg);
            }
            if !self.separator(b')', "`,` or `)` after an argument")? {
                break;
            }
        }
        self.expect(b')', "`)` after the arguments")?;
        Ok(())
    }

    fn add_argument(&mut self, call: &mut Call, name: &'a str, span: Span, arg: Arg) {
        if let Some(i) = call.args.iter().position(|(n, _)| n == name) {
            self.duplicate("argument", span, call.arg_spans[i]);
            return;
        }
        call.args.push((names::intern(name), arg));
        let span = self.since(span);
        call.arg_spans.push(span);
    }

    /// A value's name or a literal. `None` for a name that is not defined above.
    fn operand(&mut self, scope: &mut Scope<'a>, call: &mut Call) -> Parse<Option<Operand>> {
        if self.token.kind != Kind::Ident {
            let literal = match self.token.kind {
                Kind::Number | Kind::Str | Kind::Punct(b'[') => self.bare_literal()?,
                _ => {
                    let d = self.unexpected("a value's name or a literal");
                    return self.fail(d);
                }
            };
            let index = call.args.len();
            if literal.ty.dtype == DType::Fp64 && call.untyped.last() != Some(&index) {
                call.untyped.push(index);
            }
            return Ok(Some(Operand::Literal(literal)));
        }
        let next = self.peek();
        if next.is(b'(') || next.is(b'<') {
            return Ok(Some(Operand::Literal(self.typed_constant()?.0)));
        }
        let word = self.text(self.token);
        if matches!(word, "true" | "false") && !scope.names.contains_key(word) {
            return Ok(Some(Operand::Literal(self.bare_literal()?)));
        }
        let token = self.bump();
        Ok(self.lookup(scope, word, token.span).map(Operand::Value))
    }

    /// `[name = string("…"), val = …, …]`. Of a `constexpr_*` op these are its arguments.
    fn op_attributes(&mut self, call: &mut Call, first: Option<&'a str>) -> Parse<()> {
        self.bump();
        let constexpr = call.code.is_some_and(|c| c.is_constexpr());
        let mut seen: Vec<Span> = Vec::new();
        while !self.token.is(b']') {
            let (name, span) = self.ident("the name of an attribute")?;
            if let Some(&before) = seen.iter().find(|s| s.text(self.source) == name) {
                self.duplicate("attribute", span, before);
            }
            self.check_number(seen.len())?;
            seen.push(span);
            self.expect(b'=', "`=` after the name of the attribute")?;
            match name {
                "name" => call.name = self.name_attribute(first)?,
                _ => {
                    let start = self.token.span;
                    match self.typed_attr()? {
                        Attr::Constant(c) if name == "val" && call.code == Some(Opcode::Const) => {
                            call.constant = Some((c, self.since(start)));
                        }
                        Attr::Constant(c) if constexpr => {
                            self.add_argument(call, name, span, Arg::One(Operand::Literal(c)));
                        }
                        attr => call.attrs.push((name.to_string(), attr)),
                    }
                }
            }
            if !self.separator(b']', "`,` or `]` after an attribute")? {
                break;
            }
        }
        self.expect(b']', "`]` after the attributes")?;
        Ok(())
    }

    /// The value of `name`; empty when it is the first result's name, as an absent one is.
    fn name_attribute(&mut self, first: Option<&str>) -> Parse<String> {
        let start = self.token.span;
        let ty = self.ty()?;
        if !matches!(&ty, Type::Tensor(t) if t.dtype == DType::String && t.shape.is_empty()) {
            let message = format!("the attribute `name` must be a string, this is a `{ty}`");
            let d = Diagnostic::error(Code::NAME_ATTRIBUTE, message).label(self.since(start), "");
            return self.fail(d);
        }
        self.expect(b'(', "`(` and the name")?;
        let token = self.token;
        if token.kind != Kind::Str {
            let d = self.unexpected("the name in quotes");
            return self.fail(d);
        }
        let quoted = self.text(token);
        let name = if first.is_some_and(|first| quoted[1..quoted.len() - 1] == *first) {
            String::new()
        } else {
            self.string(token)?
        };
        self.bump();
        self.expect(b')', "`)` after the name")?;
        Ok(name)
    }

    /// A const must have a name, and a value of its declared type.
    fn check_const(&mut self, scope: &Scope<'a>, call: &Call, result: Option<ValueId>) {
        let Some(id) = result else {
            let d = Diagnostic::error(Code::CONST_VALUE, "a const without a name");
            return self.report(d.label(call.code_span, "").help("write `type name = const()…`"));
        };
        let (ty, name) = (&scope.function.value(id).ty, scope.spans.values[id.index()]);
        let word = name.text(self.source);
        match &call.constant {
            Some((constant, value)) if ty.as_tensor() != Some(&constant.ty) => {
                let own = &constant.ty;
                let message = format!("`{word}` is declared `{ty}`, its value is `{own}`");
                self.report(
                    Diagnostic::error(Code::CONST_TYPE, message)
                        .label(*value, format!("this is `{own}`"))
                        .label(name, format!("declared `{ty}`")),
                );
            }
            None if !call.attrs.iter().any(|(n, _)| n == "val") => {
                let message = format!("`{word}` has no value");
                self.report(
                    Diagnostic::error(Code::CONST_VALUE, message)
                        .label(call.code_span, "")
                        .help("add the attribute `val`"),
                );
            }
            _ => {}
        }
    }

    /// Numbers without a type take that of the op's first floating-point operand: in `pow(x = t, y = -0.5)` the type of `t`.
    fn give_types(&self, scope: &Scope<'a>, call: &mut Call) {
        if call.untyped.is_empty() {
            return;
        }
        let typed = call.args.iter().flat_map(|(_, arg)| arg.operands()).find_map(|operand| match operand {
            Operand::Value(id) => scope.function.tensor_type(*id).map(|t| t.dtype).filter(|d| d.is_float()),
            Operand::Literal(_) => None,
        });
        let dtype = typed.unwrap_or(DType::Fp32);
        for &i in &call.untyped {
            let operands = call.args.get_mut(i).map(|(_, arg)| arg.operands_mut()).unwrap_or_default();
            for operand in operands {
                if let Operand::Literal(constant) = operand {
                    Self::retype(constant, dtype);
                }
            }
        }
    }
}
