//! Removes what pods leave behind: dead containers and sandboxes, unused images.

pub mod containers;
pub mod images;
