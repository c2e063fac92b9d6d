//! The shape that all kubeadm documents share: camelCase names, unknown fields refused, absent and `null` both mean the
//! zero value, zero values left out when printed.

use serde::{Deserialize, Deserializer};

/// Defines a struct of a configuration document. Fields in `always` are printed even when they are empty, as Go's
/// `omitempty` does for structs.
macro_rules! document {
    (
        $(#[$struct_meta:meta])*
        pub struct $name:ident {
            $($(#[$meta:meta])* $field:ident: $ty:ty,)*
        }
        $(always { $($(#[$kept_meta:meta])* $kept:ident: $kept_ty:ty,)* })?
    ) => {
        $(#[$struct_meta])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[$meta])*
                #[serde(
                    default,
                    deserialize_with = "crate::config::macros::null_is_default",
                    skip_serializing_if = "crate::config::macros::is_default"
                )]
                pub $field: $ty,
            )*
            $($(
                $(#[$kept_meta])*
                #[serde(default, deserialize_with = "crate::config::macros::null_is_default")]
                pub $kept: $kept_ty,
            )*)?
        }
    };
}
pub(crate) use document;

/// The same for a top-level document, which also carries `apiVersion` and `kind`; the loader has already looked at them.
macro_rules! top_level {
    (
        $(#[$struct_meta:meta])*
        pub struct $name:ident {
            $($(#[$meta:meta])* $field:ident: $ty:ty,)*
        }
        $(always { $($(#[$kept_meta:meta])* $kept:ident: $kept_ty:ty,)* })?
    ) => {
        crate::config::macros::document! {
            $(#[$struct_meta])*
            pub struct $name {
                /// Read by the loader, written by `emit`.
                #[doc(hidden)]
                #[serde(skip_serializing)]
                api_version: crate::config::macros::Consumed,
                /// Read by the loader, written by `emit`.
                #[doc(hidden)]
                #[serde(skip_serializing)]
                kind: crate::config::macros::Consumed,
                $($(#[$meta])* $field: $ty,)*
            }
            $(always { $($(#[$kept_meta])* $kept: $kept_ty,)* })?
        }
    };
}
pub(crate) use top_level;

/// A field that was looked at before and carries nothing.
pub type Consumed = serde::de::IgnoredAny;

pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
