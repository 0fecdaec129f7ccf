//! The JSON schema of the configuration files, made from the very types that read them.

use crate::raw::{
    AreaSpec, ClientGroupSpec, PolicySpec, ProviderSpec, ReferenceSpec, RegionSpec, RulesSpec, ServiceSpec, VantageSpec,
};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// The schema of one document (JSON Schema 2020-12). A file may hold several documents.
#[must_use]
pub fn json_schema() -> Value {
    let mut g: SchemaGenerator = SchemaSettings::draft2020_12().into_generator();
    let kinds = [
        ("Provider", g.subschema_for::<ProviderSpec>()),
        ("Area", g.subschema_for::<AreaSpec>()),
        ("Region", g.subschema_for::<RegionSpec>()),
        ("Service", g.subschema_for::<ServiceSpec>()),
        ("Vantage", g.subschema_for::<VantageSpec>()),
        ("Reference", g.subschema_for::<ReferenceSpec>()),
        ("ClientGroup", g.subschema_for::<ClientGroupSpec>()),
        ("Rules", g.subschema_for::<RulesSpec>()),
        ("Policy", g.subschema_for::<PolicySpec>()),
    ];
    let documents: Vec<Value> = kinds.iter().map(|(kind, spec)| document(kind, spec.as_value())).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A document of Tidegate's configuration, apiVersion tidegate/v1",
        "oneOf": documents,
        "$defs": Value::Object(g.take_definitions(true)),
    })
}

fn document(kind: &str, spec: &Value) -> Value {
    let part = "[a-z0-9][a-z0-9._-]{0,62}";
    let name = if kind == "Region" { format!("^{part}/{part}$") } else { format!("^{part}$") };
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["apiVersion", "kind", "name", "spec"],
        "properties": {
            "apiVersion": { "const": crate::API_VERSION },
            "kind": { "const": kind },
            "name": { "type": "string", "pattern": name },
            "spec": spec,
        },
    })
}
