//! The shape of Kubernetes types that junioadm reads or patches without a Rust type of its own: which fields there are, what
//! they hold, and how strategic merge patches treat lists. `types.json` is made from the Go types by `scripts/schema.sh`.

mod check;
mod table;

pub use check::{Mistake, Wrong, check, check_patch};
pub use table::{Field, Merge, Shape, Structure, root, shape_of};
