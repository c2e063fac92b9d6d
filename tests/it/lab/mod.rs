//! The lab itself: what it makes, that it keeps labs apart, and that nothing of it is left.

mod hosts;
mod isolation;
mod leaves_nothing;
mod name_service;
