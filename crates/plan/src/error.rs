//! Why there is no plan.

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Text that is not what its place wants.
    #[error("`{text}` is not {what}; write {example}")]
    Text {
        /// What was written.
        text: String,
        /// What it was taken for.
        what: &'static str,
        /// How it is written.
        example: String,
    },
    /// A name that nothing has.
    #[error("there is no {what} `{name}`; there are {known}")]
    Unknown {
        /// What it was taken for.
        what: &'static str,
        /// The name.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A number that cannot be.
    #[error("{name} is {value}; {reason}")]
    Value {
        /// Which number.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// A formula that cannot be evaluated.
    #[error("formula {name} {reason}")]
    Formula {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// Embedded data that is malformed.
    #[error("{file}: {reason}")]
    Data {
        /// The file.
        file: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl PlanError {
    pub(crate) fn data(file: &'static str, reason: impl ToString) -> Self {
        PlanError::Data { file, reason: reason.to_string() }
    }

    pub(crate) fn text(text: &str, what: &'static str, example: impl Into<String>) -> Self {
        PlanError::Text { text: text.into(), what, example: example.into() }
    }

    pub(crate) fn unknown<'a>(
        what: &'static str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        PlanError::Unknown { what, name: name.into(), known }
    }

    pub(crate) fn value(name: &str, value: impl ToString, reason: impl Into<String>) -> Self {
        PlanError::Value { name: name.into(), value: value.to_string(), reason: reason.into() }
    }
}
