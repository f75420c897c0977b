//! The formulas: texts with symbols, units and sources, evaluated one after another into a ledger.
//!
//! `data/formulas.toml` is the only place where a formula is written. A [`Ledger`] holds the values known so far;
//! [`Ledger::apply`] evaluates a formula with them, adds its result, and keeps the step for whoever asks how a number came
//! about.

mod expression;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::PlanError;
use crate::quantity::{Unit, show};
use expression::Expression;

/// All symbols and formulas.
#[derive(Debug)]
pub struct Book {
    symbols: BTreeMap<String, Symbol>,
    formulas: BTreeMap<String, Formula>,
}

/// What a letter stands for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Symbol {
    unit: Unit,
    meaning: String,
}

#[derive(Debug)]
struct Formula {
    result: String,
    text: String,
    expression: Expression,
    source: String,
}

/// One evaluated formula.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// The formula's name.
    pub formula: String,
    /// The symbol it gives.
    pub result: String,
    /// What that symbol is.
    pub meaning: String,
    /// The formula.
    pub expression: String,
    /// The formula with the numbers in it.
    pub numbers: String,
    /// The result.
    pub value: f64,
    /// The result with its unit.
    pub shown: String,
    /// Where the formula is from.
    pub source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    symbols: BTreeMap<String, Symbol>,
    formulas: BTreeMap<String, Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    result: String,
    expression: String,
    source: String,
}

impl Book {
    /// Reads symbols and formulas, and checks that every symbol is declared.
    ///
    /// # Errors
    /// [`PlanError::Data`].
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        const FILE: &str = "formulas.toml";
        let file: File = toml::from_str(text).map_err(|e| PlanError::data(FILE, e))?;
        let mut formulas = BTreeMap::new();
        for (name, Written { result, expression: text, source }) in file.formulas {
            let wrong = |what: String| PlanError::data(FILE, format!("formula {name} {what}"));
            let expression = Expression::parse(&text).map_err(&wrong)?;
            let mut unknown = None;
            let mut declared = |symbol: &str| {
                if !file.symbols.contains_key(symbol) {
                    unknown = Some(symbol.to_owned());
                }
            };
            expression.symbols(&mut declared);
            declared(&result);
            if let Some(symbol) = unknown {
                return Err(wrong(format!("uses `{symbol}`, which is not among the symbols")));
            }
            formulas.insert(name, Formula { result, text, expression, source });
        }
        Ok(Self { symbols: file.symbols, formulas })
    }

    /// The names of all formulas.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.formulas.keys().map(String::as_str)
    }
}

/// The values known so far, and how they came about.
#[derive(Debug)]
pub struct Ledger<'a> {
    book: &'a Book,
    values: BTreeMap<String, f64>,
    /// Units of symbols that are not in the book.
    units: BTreeMap<String, Unit>,
    steps: Vec<Step>,
}

impl<'a> Ledger<'a> {
    /// Nothing known yet.
    pub fn new(book: &'a Book) -> Self {
        Self { book, values: BTreeMap::new(), units: BTreeMap::new(), steps: Vec::new() }
    }

    /// Gives a symbol its value. A later value replaces an earlier.
    pub fn set(&mut self, symbol: &str, value: f64) {
        self.values.insert(symbol.to_owned(), value);
    }

    /// Gives a symbol that is not in the book a value and a unit.
    pub(crate) fn define(&mut self, symbol: &str, value: f64, unit: Unit) {
        self.set(symbol, value);
        self.units.insert(symbol.to_owned(), unit);
    }

    /// The value of a symbol, if it is known.
    pub fn value(&self, symbol: &str) -> Option<f64> {
        self.values.get(symbol).copied()
    }

    /// Evaluates a formula; its result is known from now on.
    ///
    /// # Errors
    /// [`PlanError::Formula`] if there is no such formula, a symbol has no value, or the result is not a finite number.
    pub fn apply(&mut self, name: &str) -> Result<f64, PlanError> {
        let wrong = |reason: String| PlanError::Formula { name: name.into(), reason };
        let formula = self.book.formulas.get(name).ok_or_else(|| wrong("does not exist".into()))?;
        let value = formula
            .expression
            .evaluate(&|symbol| self.value(symbol))
            .map_err(|symbol| wrong(format!("needs `{symbol}`, which has no value")))?;
        let numbers = self.substitute(&formula.text);
        if !value.is_finite() {
            return Err(wrong(format!("has no finite value: {} = {numbers}", formula.text)));
        }
        let result = formula.result.clone();
        self.values.insert(result.clone(), value);
        self.steps.push(Step {
            formula: name.into(),
            meaning: self.book.symbols.get(&result).map(|s| s.meaning.clone()).unwrap_or_default(),
            shown: self.shown(&result, value),
            expression: formula.text.clone(),
            source: formula.source.clone(),
            result,
            numbers,
            value,
        });
        Ok(value)
    }

    /// Evaluates a text that is not in the book, with the values known so far.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn evaluate(&self, text: &str) -> Result<f64, String> {
        let missing = |symbol: String| format!("needs `{symbol}`, which has no value");
        Expression::parse(text)?.evaluate(&|symbol| self.value(symbol)).map_err(missing)
    }

    /// A text with the values known so far in the place of its symbols.
    pub(crate) fn substitute(&self, text: &str) -> String {
        expression::substitute(text, |symbol| self.value(symbol).map(|value| self.shown(symbol, value)))
    }

    fn shown(&self, symbol: &str, value: f64) -> String {
        let of_book = self.book.symbols.get(symbol).map(|known| known.unit);
        show(value, of_book.or_else(|| self.units.get(symbol).copied()).unwrap_or(Unit::Number))
    }

    /// How every value came about, in order.
    pub fn into_steps(self) -> Vec<Step> {
        self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOK: &str = r#"
        [symbols]
        N = { unit = "count", meaning = "workers" }
        S = { unit = "bytes", meaning = "what is shared" }
        V = { unit = "bytes", meaning = "what is sent" }
        [formulas.ring]
        result = "V"
        expression = "2 * (N - 1) / N * S"
        source = "a paper"
    "#;

    #[test]
    fn a_step_says_formula_numbers_and_result() {
        let book = Book::parse(BOOK).unwrap();
        let mut ledger = Ledger::new(&book);
        ledger.set("N", 8.0);
        ledger.set("S", 4e9);
        assert_eq!(ledger.apply("ring").unwrap(), 7e9);
        assert_eq!(ledger.value("V"), Some(7e9));
        let step = &ledger.into_steps()[0];
        assert_eq!(step.numbers, "2 * (8 - 1) / 8 * 4 GB");
        assert_eq!((step.shown.as_str(), step.meaning.as_str()), ("7 GB", "what is sent"));
    }

    #[test]
    fn a_missing_value_an_infinite_one_and_an_unknown_formula_are_errors() {
        let book = Book::parse(BOOK).unwrap();
        let mut ledger = Ledger::new(&book);
        ledger.set("N", 0.0);
        assert!(ledger.apply("ring").unwrap_err().to_string().contains("needs `S`"));
        ledger.set("S", 1.0);
        assert!(ledger.apply("ring").unwrap_err().to_string().contains("no finite value"));
        assert!(ledger.apply("rang").unwrap_err().to_string().contains("does not exist"));
    }

    #[test]
    fn a_symbol_that_is_not_declared_is_refused() {
        let error = Book::parse(&BOOK.replace("/ N", "/ Q")).unwrap_err().to_string();
        assert!(error.contains("formula ring uses `Q`"), "{error}");
    }
}
