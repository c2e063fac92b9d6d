//! Errors of rendering; all of them are bugs of ours except a bad user document.

use junio_api::hint::{Code, Hint};

#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    #[error("cannot render {template}: {reason}")]
    Render { template: &'static str, reason: String },
    #[error("{template} does not parse back")]
    Parse { template: &'static str, source: junio_api::yaml::ParseError },
    #[error("{template} is no {kind}: {reason}")]
    Type { template: &'static str, kind: String, reason: String },
    #[error("{template}: the {kind} loses fields when it is read as its type")]
    LostFields { template: &'static str, kind: String },
    #[error("cannot write YAML")]
    Emit(#[from] junio_api::yaml::EmitError),
    #[error("the document for {kind} is no mapping")]
    NotAMapping { kind: &'static str },
}

impl Hint for TemplateError {
    fn code(&self) -> Code {
        Code(match self {
            Self::NotAMapping { .. } => "COMPONENT-CONFIG",
            _ => "TEMPLATE",
        })
    }

    fn expected(&self) -> bool {
        matches!(self, Self::NotAMapping { .. })
    }
}
