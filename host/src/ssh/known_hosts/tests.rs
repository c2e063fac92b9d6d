//! Judgements about host keys.
