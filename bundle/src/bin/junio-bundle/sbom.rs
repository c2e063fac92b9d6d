//! The bill of materials, in CycloneDX 1.5 JSON (ECMA-424), without a serial number or time: it is reproducible.

use std::collections::BTreeMap;

use junio_bundle::sha256;
use serde_json::{Value, json};

use crate::error::BuildError;
use crate::inventory::Inventory;

/// The content of sbom.cdx.json: the bundle's programs with their digests, the components, and which is in which.
pub fn render(inventory: &Inventory, binaries: &BTreeMap<&'static str, Vec<u8>>) -> Result<Vec<u8>, BuildError> {
    let mut components: Vec<Value> = binaries
        .iter()
        .map(|(name, bytes)| {
            json!({
                "type": "application", "bom-ref": reference(name), "name": name,
                "hashes": [{"alg": "SHA-256", "content": sha256(bytes)}],
            })
        })
        .collect();
    let mut contained: BTreeMap<String, Vec<&str>> =
        binaries.keys().map(|name| (reference(name), Vec::new())).collect();
    for component in &inventory.components {
        let mut entry = json!({
            "type": "library", "bom-ref": component.purl, "name": component.name, "version": component.version, "purl": component.purl,
        });
        if let Some(license) = &component.license {
            // Cargo once allowed `MIT/Apache-2.0`.
            entry["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
        }
        components.push(entry);
        for program in &component.used_by {
            contained.entry(reference(program)).or_default().push(&component.purl);
        }
    }
    if contained.contains_key(&reference("xtables")) {
        components.push(json!({"type": "application", "bom-ref": reference("xtables"), "name": "xtables"}));
    }
    let dependencies: Vec<Value> =
        contained.iter().map(|(program, uses)| json!({"ref": program, "dependsOn": uses})).collect();
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "bom-ref": "junioadm-bundle", "name": "junioadm-bundle", "version": env!("CARGO_PKG_VERSION")},
        },
        "components": components,
        "dependencies": dependencies,
    });
    serde_json::to_vec(&document).map_err(BuildError::json("write the SBOM"))
}

fn reference(program: &str) -> String {
    format!("program:{program}")
}
