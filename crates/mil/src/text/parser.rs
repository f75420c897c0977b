//! Recursive descent over the tokens: programs and functions. Statements, types and literals are in the files beside.

use std::collections::HashMap;

use super::Parsed;
use super::lexer::{Kind, Lexer, Token};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, FunctionSpans, SourceMap, Span, nearest};
use crate::{Attr, Function, Opset, Program, Type, ValueId};

/// A part could not be read; why has been reported.
#[derive(Debug)]
pub(super) struct Failed;

pub(super) type Parse<T> = Result<T, Failed>;

/// Errors after which reading stops.
const MOST_ERRORS: usize = 100;

/// How deep types, literals and blocks may nest.
const DEEPEST: usize = 64;

/// Arguments or attributes that one pair of brackets may hold. They are compared with each other.
pub(super) const MOST_ARGUMENTS: usize = 128;

/// Elements of lists and dictionaries, and parts of their types, that a text may hold outside tensors. Each takes some
/// hundred bytes of memory for a few of text.
const MOST_ELEMENTS: usize = 1 << 20;

/// Minor versions of `program(1.x)` that are known.
const KNOWN_MINORS: [u32; 3] = [0, 3, 5];

/// The state of reading one text.
pub(super) struct Parser<'a> {
    pub(super) source: &'a str,
    pub(super) lexer: Lexer<'a>,
    /// The token looked at, not yet taken.
    pub(super) token: Token,
    /// Where the token before ended.
    last_end: u32,
    depth: usize,
    elements: usize,
    diagnostics: Diagnostics,
    stopped: bool,
}

/// A function while it is read.
pub(super) struct Scope<'a> {
    pub(super) function: Function,
    pub(super) spans: FunctionSpans,
    pub(super) names: HashMap<&'a str, ValueId>,
    /// Names used that nothing above defines.
    unresolved: Vec<(&'a str, Span)>,
    /// A statement was lost together with the names it would define.
    pub(super) incomplete: bool,
}

impl<'a> Scope<'a> {
    fn new(name: &str, span: Span) -> Self {
        Self {
            function: Function::new(name, Opset::Ios18),
            spans: FunctionSpans { name: span, ..FunctionSpans::default() },
            names: HashMap::new(),
            unresolved: Vec::new(),
            incomplete: false,
        }
    }
}

/// Reads a whole text.
pub(super) fn parse(source: &str) -> Result<Parsed, Diagnostics> {
    if u32::try_from(source.len()).is_err() {
        return Err(Diagnostic::error(Code::TOO_LARGE, "the text has more than 4 GiB").into());
    }
    let mut lexer = Lexer::new(source);
    let token = lexer.next();
    let mut parser = Parser {
        source,
        lexer,
        token,
        last_end: 0,
        depth: 0,
        elements: 0,
        diagnostics: Diagnostics::new(),
        stopped: false,
    };
    let (program, source_map) = parser.program();
    let mut diagnostics = parser.diagnostics;
    diagnostics.locate(source);
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    Ok(Parsed { program, source_map, warnings: diagnostics })
}

impl<'a> Parser<'a> {
    /// `program(1.3) [attributes] { functions }`
    fn program(&mut self) -> (Program, SourceMap) {
        let mut program = Program { version: (1, 3), attrs: Vec::new(), functions: Vec::new() };
        let mut map = SourceMap::default();
        if self.header(&mut program).is_err() {
            self.skip_to_function();
        }
        let mut names: HashMap<&str, Span> = HashMap::new();
        while self.at_keyword("func") {
            let start = self.token.span;
            let Ok(scope) = self.function() else {
                self.skip_to_function();
                continue;
            };
            let name = scope.spans.name;
            if let Some(first) = names.insert(name.text(self.source), name) {
                self.duplicate("function", name, first);
            }
            debug_assert!(name.start > start.start);
            program.functions.push(scope.function);
            map.functions.push(scope.spans);
        }
        if !self.diagnostics.has_errors() {
            let _ = self.end_of_program(&program);
        }
        (program, map)
    }

    fn header(&mut self, program: &mut Program) -> Parse<()> {
        if !self.at_keyword("program") {
            let d = self.unexpected("`program(1.3)`");
            return self.fail(d.help("MIL text begins with the version of the language: program(1.3)"));
        }
        self.bump();
        self.expect(b'(', "`(` and the version")?;
        program.version = self.version()?;
        self.expect(b')', "`)` after the version")?;
        if self.token.is(b'[') {
            program.attrs = self.attributes()?;
        }
        self.expect(b'{', "`{` before the functions")?;
        Ok(())
    }

    fn version(&mut self) -> Parse<(u32, u32)> {
        let token = self.token;
        let text = self.text(token);
        let parsed = match text.split_once('.') {
            Some((major, minor)) => major.parse().ok().zip(minor.parse().ok()),
            None => text.parse().ok().map(|major| (major, 0)),
        };
        let (Kind::Number, Some(version)) = (token.kind, parsed) else {
            let d = self.unexpected("a version such as 1.3");
            return self.fail(d);
        };
        self.bump();
        match version {
            (1, minor) if KNOWN_MINORS.contains(&minor) => {}
            (1, minor) => {
                let message = format!("version 1.{minor} of MIL is not known; it is read like 1.5");
                self.report(Diagnostic::warning(Code::VERSION, message).label(token.span, ""));
            }
            (major, _) => {
                let message = format!("version {major} of MIL is not supported");
                self.report(
                    Diagnostic::error(Code::VERSION, message)
                        .label(token.span, "")
                        .help("versions 1.0 to 1.5 are"),
                );
            }
        }
        Ok(version)
    }

    fn end_of_program(&mut self, program: &Program) -> Parse<()> {
        let closing = self.token.span;
        self.expect(b'}', "`func` or the `}` that ends the program")?;
        if self.token.kind != Kind::Eof {
            let d = self.unexpected("the end of the text");
            return self.fail(d.label(closing, "the program ends here"));
        }
        if program.functions.is_empty() {
            let message = "the program has no function";
            let d = Diagnostic::error(Code::NO_FUNCTION, message).label(closing, "");
            return self.fail(d.help("add `func main<ios18>(…) { … } -> (…);`"));
        }
        Ok(())
    }

    /// `func main<ios18>(inputs) [attributes] { statements } -> (outputs);`
    fn function(&mut self) -> Parse<Scope<'a>> {
        self.bump();
        let (name, span) = self.ident("the name of the function")?;
        let mut scope = Scope::new(name, span);
        self.expect(b'<', "`<` and the op set, as in `func main<ios18>`")?;
        scope.function.opset = self.opset()?;
        self.expect(b'>', "`>` after the op set")?;
        self.inputs(&mut scope)?;
        if self.token.is(b'[') {
            scope.function.attrs = self.attributes()?;
        }
        self.expect(b'{', "`{` before the statements")?;
        while !self.token.is(b'}') {
            if self.token.kind == Kind::Eof {
                let d = self.unexpected("a statement or the `}` that ends the function");
                return self.fail(d.label(span, "the function begins here"));
            }
            if self.statement(&mut scope).is_err() {
                self.skip_statement();
            }
        }
        self.bump();
        if self.token.kind != Kind::Arrow {
            let d = self.unexpected("`->` and the outputs of the function");
            return self.fail(d.help("a function ends in `} -> (y);`"));
        }
        self.bump();
        self.outputs(&mut scope)?;
        // Some writers leave out the `;`.
        if self.token.is(b';') {
            self.bump();
        }
        self.report_unresolved(&scope);
        Ok(scope)
    }

    fn opset(&mut self) -> Parse<Opset> {
        let (name, span) = self.ident("an op set such as ios18")?;
        if let Some(opset) = Opset::from_name(name) {
            return Ok(opset);
        }
        let message = format!("there is no op set `{name}`");
        self.report(
            Diagnostic::error(Code::OPSET, message)
                .label(span, "")
                .help("op sets are ios15, ios16, ios17, ios18 and ios26"),
        );
        // Reading goes on as if it were the usual one.
        Ok(Opset::Ios18)
    }

    fn inputs(&mut self, scope: &mut Scope<'a>) -> Parse<()> {
        self.expect(b'(', "`(` and the inputs")?;
        while !self.token.is(b')') {
            let ty = self.ty()?;
            let (name, span) = self.ident("the name of the input")?;
            if let Some(id) = self.define(scope, name, span, ty) {
                scope.function.inputs.push(id);
            }
            if !self.separator(b')', "`,` or `)` after an input")? {
                break;
            }
        }
        self.expect(b')', "`)` after the inputs")?;
        Ok(())
    }

    fn outputs(&mut self, scope: &mut Scope<'a>) -> Parse<()> {
        self.expect(b'(', "`(` and the outputs")?;
        while !self.token.is(b')') {
            let (name, span) = self.ident("the name of an output")?;
            if let Some(id) = self.lookup(scope, name, span) {
                scope.function.outputs.push(id);
                scope.spans.outputs.push(span);
            }
            if !self.separator(b')', "`,` or `)` after an output")? {
                break;
            }
        }
        self.expect(b')', "`)` after the outputs")?;
        Ok(())
    }

    // Names.

    /// Adds a value to the function, or reports that its name is taken.
    pub(super) fn define(
        &mut self,
        scope: &mut Scope<'a>,
        name: &'a str,
        span: Span,
        ty: Type,
    ) -> Option<ValueId> {
        if let Some(first) = scope.names.get(name) {
            let first = scope.spans.values[first.index()];
            self.duplicate("value", span, first);
            return None;
        }
        let id = scope.function.add_value(name, ty);
        scope.spans.values.push(span);
        scope.names.insert(name, id);
        Some(id)
    }

    /// The value called `name`; an unknown name is reported when the function ends, for it may be defined below.
    pub(super) fn lookup(&mut self, scope: &mut Scope<'a>, name: &'a str, span: Span) -> Option<ValueId> {
        let id = scope.names.get(name).copied();
        if id.is_none() {
            scope.unresolved.push((name, span));
        }
        id
    }

    fn report_unresolved(&mut self, scope: &Scope<'a>) {
        for &(name, span) in &scope.unresolved {
            if let Some(id) = scope.names.get(name) {
                let defined = scope.spans.values[id.index()];
                let message = format!("`{name}` is used before it is defined");
                self.report(
                    Diagnostic::error(Code::USED_BEFORE_DEFINITION, message)
                        .label(span, "used here")
                        .label(defined, "defined here")
                        .help("statements are in execution order: move the definition up"),
                );
            } else if !scope.incomplete {
                let function = &scope.function.name;
                let message = format!("`{name}` is not defined in function `{function}`");
                let mut d = Diagnostic::error(Code::UNDEFINED, message).label(span, "");
                // Suggesting is linear in the names; one screenful of suggestions is enough.
                if self.diagnostics.len() < 20
                    && let Some(near) = nearest(name, scope.names.keys().copied())
                {
                    let place = scope.spans.values[scope.names[near].index()];
                    d = d.label(place, "a similar name").help(format!("did you mean `{near}`?"));
                }
                self.report(d);
            }
        }
    }

    pub(super) fn duplicate(&mut self, what: &str, second: Span, first: Span) {
        let name = second.text(self.source);
        let message = format!("the {what} `{name}` is given twice");
        self.report(
            Diagnostic::error(Code::DUPLICATE, message)
                .label(second, "given again here")
                .label(first, "given first here"),
        );
    }

    // Tokens.

    pub(super) fn text(&self, token: Token) -> &'a str {
        token.span.text(self.source)
    }

    #[inline]
    pub(super) fn bump(&mut self) -> Token {
        let taken = self.token;
        self.last_end = taken.span.end;
        self.token = self.lexer.next();
        taken
    }

    /// The token after the one looked at.
    pub(super) fn peek(&self) -> Token {
        let mut ahead = self.lexer;
        ahead.next()
    }

    pub(super) fn at_keyword(&self, keyword: &str) -> bool {
        self.token.kind == Kind::Ident && self.text(self.token) == keyword
    }

    /// Where the last token taken ended: the place where something is missing.
    pub(super) fn gap(&self) -> Span {
        Span { start: self.last_end.saturating_sub(1), end: self.last_end }
    }

    pub(super) fn since(&self, start: Span) -> Span {
        Span { start: start.start, end: self.last_end.max(start.end) }
    }

    #[inline]
    pub(super) fn expect(&mut self, punct: u8, what: &str) -> Parse<Token> {
        if self.token.is(punct) {
            return Ok(self.bump());
        }
        let d = self.unexpected(what);
        self.fail(d)
    }

    #[inline]
    pub(super) fn ident(&mut self, what: &str) -> Parse<(&'a str, Span)> {
        if self.token.kind == Kind::Ident {
            let token = self.bump();
            return Ok((self.text(token), token.span));
        }
        let d = self.unexpected(what);
        self.fail(d)
    }

    /// After an element of a list: takes a `,` and says whether another element may follow; `close` is not taken.
    #[inline]
    pub(super) fn separator(&mut self, close: u8, what: &str) -> Parse<bool> {
        if self.token.is(b',') {
            let comma = self.bump();
            if self.token.is(close) {
                let d = self.unexpected("another element after `,`");
                return self.fail(d.label(comma.span, "remove this `,`"));
            }
            return Ok(true);
        }
        if self.token.is(close) {
            return Ok(false);
        }
        let d = self.unexpected(what);
        self.fail(d)
    }

    /// Reads one level deeper.
    pub(super) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        if self.depth == DEEPEST {
            let message = format!("nested more than {DEEPEST} deep");
            let d = Diagnostic::error(Code::TOO_DEEP, message).label(self.token.span, "");
            return self.fail(d);
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Refuses more arguments or attributes than one pair of brackets may hold.
    pub(super) fn check_number(&mut self, number: usize) -> Parse<()> {
        if number < MOST_ARGUMENTS {
            return Ok(());
        }
        let message = format!("more than {MOST_ARGUMENTS} arguments or attributes");
        let d = Diagnostic::error(Code::TOO_MANY, message).label(self.token.span, "");
        self.fail(d)
    }

    /// Counts elements of lists and dictionaries, and refuses too many.
    pub(super) fn count_elements(&mut self, number: usize) -> Parse<()> {
        self.elements += number;
        if self.elements <= MOST_ELEMENTS {
            return Ok(());
        }
        let message = format!("lists and dictionaries of more than {MOST_ELEMENTS} elements");
        let d = Diagnostic::error(Code::TOO_LARGE, message).label(self.token.span, "");
        self.fail(d)
    }

    // Reports and recovery.

    /// Something else was expected here.
    pub(super) fn unexpected(&self, what: &str) -> Diagnostic {
        let token = self.token;
        let text = self.text(token);
        let code = match token.kind {
            Kind::Unterminated => Code::UNTERMINATED,
            _ => Code::SYNTAX,
        };
        let shown: String = text.chars().take(40).collect();
        let more = if shown.len() < text.len() { "…" } else { "" };
        let found = match token.kind {
            Kind::Eof => "the text ends".to_string(),
            Kind::Unterminated if text.starts_with('"') => "a string does not end on its line".to_string(),
            Kind::Unterminated => "a comment does not end".to_string(),
            _ => format!("there is `{shown}{more}`"),
        };
        let place = if token.kind == Kind::Eof { self.gap() } else { token.span };
        Diagnostic::error(code, format!("expected {what}, but {found}")).label(place, "")
    }

    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        if self.stopped {
            return;
        }
        let place = diagnostic.span();
        self.diagnostics.push(diagnostic);
        if self.diagnostics.len() >= MOST_ERRORS {
            let message = format!("reading stopped after {MOST_ERRORS} diagnostics");
            let mut d = Diagnostic::error(Code::TOO_MANY, message);
            d.labels.extend(place.map(|p| (p, String::new())));
            self.diagnostics.push(d);
            self.stopped = true;
            self.lexer.stop();
            self.token = self.lexer.next();
        }
    }

    pub(super) fn fail<T>(&mut self, diagnostic: Diagnostic) -> Parse<T> {
        self.report(diagnostic);
        Err(Failed)
    }

    /// Goes on after the next `;`, or at the `}` that ends the function.
    fn skip_statement(&mut self) {
        let mut open = 0usize;
        loop {
            match self.token.kind {
                Kind::Eof => return,
                Kind::Punct(b';') if open == 0 => {
                    self.bump();
                    return;
                }
                Kind::Punct(b'{') => open += 1,
                Kind::Punct(b'}') if open > 0 => open -= 1,
                Kind::Punct(b'}') if self.peek().kind == Kind::Arrow => return,
                _ => {}
            }
            self.bump();
        }
    }

    /// Skips `{ … }`, the opening brace being looked at.
    pub(super) fn skip_block(&mut self) {
        let mut open = 0usize;
        loop {
            match self.token.kind {
                Kind::Eof => return,
                Kind::Punct(b'{') => open += 1,
                Kind::Punct(b'}') => open -= 1,
                _ => {}
            }
            self.bump();
            if open == 0 {
                return;
            }
        }
    }

    fn skip_to_function(&mut self) {
        while self.token.kind != Kind::Eof && !self.at_keyword("func") {
            self.bump();
        }
    }

    /// `[name = type(value), …]`
    fn attributes(&mut self) -> Parse<Vec<(String, Attr)>> {
        self.expect(b'[', "`[`")?;
        let mut attrs = Vec::new();
        let mut seen: Vec<Span> = Vec::new();
        while !self.token.is(b']') {
            let (name, span) = self.ident("the name of an attribute")?;
            if let Some(&first) = seen.iter().find(|s| s.text(self.source) == name) {
                self.duplicate("attribute", span, first);
            }
            self.check_number(seen.len())?;
            seen.push(span);
            self.expect(b'=', "`=` after the name of the attribute")?;
            attrs.push((name.to_string(), self.typed_attr()?));
            if !self.separator(b']', "`,` or `]` after an attribute")? {
                break;
            }
        }
        self.expect(b']', "`]` after the attributes")?;
        Ok(attrs)
    }
}
