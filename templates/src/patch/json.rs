//! RFC 6902 and RFC 7386, by the `json-patch` package.

use json_patch::PatchOperation;
use serde_json::Value;

/// Whether a value is one operation.
pub fn check(operation: &Value) -> Result<(), String> {
    serde_json::from_value::<PatchOperation>(operation.clone()).map(|_| ()).map_err(|e| e.to_string())
}

/// Applies all operations or none; the error names the operation.
pub fn apply(mut value: Value, operations: &Value) -> Result<Value, (usize, String)> {
    let operations: Vec<PatchOperation> = serde_json::from_value(operations.clone()).map_err(|e| (0, e.to_string()))?;
    json_patch::patch(&mut value, &operations).map_err(|e| (e.operation, format!("{} ({})", e.kind, e.path)))?;
    Ok(value)
}

pub fn merge(mut value: Value, patch: &Value) -> Value {
    json_patch::merge(&mut value, patch);
    value
}
