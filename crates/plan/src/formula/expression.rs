//! Arithmetic written as text: parsed once, evaluated with values for its symbols.

use std::iter::Peekable;
use std::str::CharIndices;

/// What a formula's text says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    Number(f64),
    Symbol(String),
    Binary(char, Box<Expression>, Box<Expression>),
    Call(Function, Vec<Expression>),
}

/// The functions a formula may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Function {
    Sqrt,
    Exp,
    Expm1,
    Log2,
    Ceil,
    Max,
    Min,
}

impl Function {
    const ALL: [(&'static str, Function, usize); 7] = [
        ("sqrt", Function::Sqrt, 1),
        ("exp", Function::Exp, 1),
        ("expm1", Function::Expm1, 1),
        ("log2", Function::Log2, 1),
        ("ceil", Function::Ceil, 1),
        ("max", Function::Max, 2),
        ("min", Function::Min, 2),
    ];

    fn call(self, arguments: &[f64]) -> f64 {
        match (self, arguments) {
            (Function::Sqrt, [x]) => x.sqrt(),
            (Function::Exp, [x]) => x.exp(),
            (Function::Expm1, [x]) => x.exp_m1(),
            (Function::Log2, [x]) => x.log2(),
            (Function::Ceil, [x]) => x.ceil(),
            (Function::Max, [x, y]) => x.max(*y),
            (Function::Min, [x, y]) => x.min(*y),
            // The parser counts arguments.
            _ => f64::NAN,
        }
    }
}

impl Expression {
    /// Reads `2 * (N - 1) / N * S`.
    ///
    /// # Errors
    /// What is wrong and at which character.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { text, rest: text.char_indices().peekable() };
        let whole = parser.sum()?;
        match parser.peek() {
            None => Ok(whole),
            Some(c) => Err(parser.unexpected(c)),
        }
    }

    /// The value, or the name of the first symbol that has none.
    pub(crate) fn evaluate(&self, value: &impl Fn(&str) -> Option<f64>) -> Result<f64, String> {
        Ok(match self {
            Expression::Number(number) => *number,
            Expression::Symbol(name) => value(name).ok_or_else(|| name.clone())?,
            Expression::Binary(operator, left, right) => {
                let (left, right) = (left.evaluate(value)?, right.evaluate(value)?);
                match operator {
                    '+' => left + right,
                    '-' => left - right,
                    '*' => left * right,
                    '/' => left / right,
                    _ => left.powf(right),
                }
            }
            Expression::Call(function, arguments) => {
                let values: Result<Vec<f64>, String> = arguments.iter().map(|a| a.evaluate(value)).collect();
                function.call(&values?)
            }
        })
    }

    /// Calls `visit` with every symbol.
    pub(crate) fn symbols(&self, visit: &mut impl FnMut(&str)) {
        match self {
            Expression::Number(_) => {}
            Expression::Symbol(name) => visit(name),
            Expression::Binary(_, left, right) => {
                left.symbols(visit);
                right.symbols(visit);
            }
            Expression::Call(_, arguments) => arguments.iter().for_each(|a| a.symbols(visit)),
        }
    }
}

/// The text with every symbol replaced by what `show` says of it.
pub(crate) fn substitute(text: &str, show: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        out.push_str(&rest[..start]);
        let word = &rest[start..];
        let end = word.find(|c: char| !is_word(c)).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        match show(word) {
            Some(value) => out.push_str(&value),
            None => out.push_str(word),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

struct Parser<'a> {
    text: &'a str,
    rest: Peekable<CharIndices<'a>>,
}

impl<'a> Parser<'a> {
    fn sum(&mut self) -> Result<Expression, String> {
        self.chain(&['+', '-'], Self::product)
    }

    fn product(&mut self) -> Result<Expression, String> {
        self.chain(&['*', '/'], Self::power)
    }

    fn power(&mut self) -> Result<Expression, String> {
        self.chain(&['^'], Self::atom)
    }

    /// Operators of one rank, from left to right.
    fn chain(
        &mut self,
        operators: &[char],
        operand: fn(&mut Self) -> Result<Expression, String>,
    ) -> Result<Expression, String> {
        let mut left = operand(self)?;
        while let Some(c) = self.peek().filter(|c| operators.contains(c)) {
            self.rest.next();
            left = Expression::Binary(c, Box::new(left), Box::new(operand(self)?));
        }
        Ok(left)
    }

    fn atom(&mut self) -> Result<Expression, String> {
        match self.peek() {
            Some('(') => {
                self.rest.next();
                let inner = self.sum()?;
                self.expect(')')?;
                Ok(inner)
            }
            Some(c) if c.is_ascii_digit() => self.number(),
            Some(c) if c.is_ascii_alphabetic() => self.name(),
            Some(c) => Err(self.unexpected(c)),
            None => Err("ends where a value is expected".into()),
        }
    }

    fn number(&mut self) -> Result<Expression, String> {
        // An exponent's sign belongs to the number.
        let mut previous = ' ';
        let word = self.take(|c| {
            let belongs = is_word(c) || c == '.' || ((c == '-' || c == '+') && previous == 'e');
            previous = c;
            belongs
        });
        word.parse().map(Expression::Number).map_err(|_| format!("has `{word}`, which is not a number"))
    }

    fn name(&mut self) -> Result<Expression, String> {
        let word = self.take(is_word);
        if self.peek() != Some('(') {
            return Ok(Expression::Symbol(word.to_owned()));
        }
        let Some((_, function, wanted)) = Function::ALL.into_iter().find(|(name, ..)| *name == word) else {
            return Err(format!("calls `{word}`, which is not a function"));
        };
        self.rest.next();
        let mut arguments = vec![self.sum()?];
        while self.peek() == Some(',') {
            self.rest.next();
            arguments.push(self.sum()?);
        }
        self.expect(')')?;
        if arguments.len() != wanted {
            return Err(format!("gives {word} {} arguments; it takes {wanted}", arguments.len()));
        }
        Ok(Expression::Call(function, arguments))
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        match self.peek() {
            Some(c) if c == wanted => {
                self.rest.next();
                Ok(())
            }
            Some(c) => Err(self.unexpected(c)),
            None => Err(format!("ends where `{wanted}` is expected")),
        }
    }

    fn take(&mut self, mut belongs: impl FnMut(char) -> bool) -> &'a str {
        let start = self.rest.peek().map_or(self.text.len(), |(at, _)| *at);
        while self.rest.next_if(|(_, c)| belongs(*c)).is_some() {}
        let end = self.rest.peek().map_or(self.text.len(), |(at, _)| *at);
        &self.text[start..end]
    }

    fn peek(&mut self) -> Option<char> {
        while self.rest.next_if(|(_, c)| c.is_whitespace()).is_some() {}
        self.rest.peek().map(|(_, c)| *c)
    }

    fn unexpected(&mut self, c: char) -> String {
        let at = self.rest.peek().map_or(self.text.len(), |(at, _)| *at);
        format!("has an unexpected `{c}` at character {}", at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> f64 {
        let symbols = |name: &str| [("N", 8.0), ("S", 100.0)].into_iter().find(|s| s.0 == name).map(|s| s.1);
        Expression::parse(text).unwrap().evaluate(&symbols).unwrap()
    }

    #[test]
    fn operators_bind_as_usual() {
        assert_eq!(value("1 + 2 * 3"), 7.0);
        assert_eq!(value("2 * (N - 1) / N * S"), 175.0);
        assert_eq!(value("8 - 3 - 2"), 3.0);
        assert_eq!(value("2 ^ 3 * 2"), 16.0);
        assert_eq!(value("1.5e-3 * 2e3"), 3.0);
    }

    #[test]
    fn functions_are_the_usual_ones() {
        assert_eq!(value("max(0, 3 - N)"), 0.0);
        assert_eq!(value("ceil(log2(N + 1))"), 4.0);
        assert_eq!(value("sqrt(S)"), 10.0);
        assert!((value("exp(0 - 1)") - (-1f64).exp()).abs() < 1e-15);
        assert_eq!(value("expm1(0)"), 0.0);
        assert_eq!(value("min(N, S)"), 8.0);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let wrong = |text| Expression::parse(text).unwrap_err();
        assert_eq!(wrong("2 * "), "ends where a value is expected");
        assert_eq!(wrong("2 * ) 3"), "has an unexpected `)` at character 5");
        assert_eq!(wrong("sin(2)"), "calls `sin`, which is not a function");
        assert_eq!(wrong("max(2)"), "gives max 1 arguments; it takes 2");
        assert_eq!(wrong("2 3"), "has an unexpected `3` at character 3");
        assert_eq!(wrong("(2"), "ends where `)` is expected");
        assert_eq!(wrong("2x"), "has `2x`, which is not a number");
        assert_eq!(
            Expression::parse("N * Q").unwrap().evaluate(&|n| (n == "N").then_some(1.0)),
            Err("Q".into())
        );
    }

    #[test]
    fn symbols_are_replaced_and_functions_kept() {
        let shown = substitute("max(0, t_sync - 2 * t)", |name| (name != "max").then(|| format!("<{name}>")));
        assert_eq!(shown, "max(0, <t_sync> - 2 * <t>)");
    }
}
