//! The published schemas of domain events: events held against them, the document made from them,
//! and whether they still promise what was released.
#![forbid(unsafe_code)]

pub mod document;
pub mod released;

use anyhow::Context as _;
use jsonschema::Validator;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// The project's `docs` folder.
pub fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// The JSON documents of a folder, by the name of their file.
pub fn read_all(folder: &Path) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut documents = BTreeMap::new();
    for file in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = file?.path();
        let place = || path.display().to_string();
        let name = path.file_name().and_then(|name| name.to_str()).with_context(place)?;
        let kind = name.strip_suffix(".json").unwrap_or(name).to_owned();
        let document = serde_json::from_slice(&fs::read(&path)?).with_context(place)?;
        documents.insert(kind, document);
    }
    Ok(documents)
}

/// The schemas of `docs/events`.
#[derive(Debug)]
pub struct Schemas {
    schemas: BTreeMap<String, Value>,
    validators: BTreeMap<String, Validator>,
}

impl Schemas {
    /// Reads them; an error if one is no schema.
    pub fn load() -> anyhow::Result<Self> {
        Self::new(read_all(&docs().join("events"))?)
    }

    /// These schemas, by type.
    pub fn new(schemas: BTreeMap<String, Value>) -> anyhow::Result<Self> {
        let mut validators = BTreeMap::new();
        for (kind, schema) in &schemas {
            anyhow::ensure!(jsonschema::meta::is_valid(schema), "{kind} is not a schema");
            let options = jsonschema::draft202012::options().should_validate_formats(true);
            let validator = options.build(schema).with_context(|| kind.clone())?;
            validators.insert(kind.clone(), validator);
        }
        Ok(Self { schemas, validators })
    }

    /// Type and schema of each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.schemas.iter().map(|(kind, schema)| (kind.as_str(), schema))
    }

    /// The schema of a type; null if there is none.
    pub fn get(&self, kind: &str) -> &Value {
        self.schemas.get(kind).unwrap_or(&Value::Null)
    }

    /// What is wrong with an event: where it is not as its schema says, and which fields of its
    /// data are not described there.
    pub fn problems(&self, event: &Value) -> Vec<String> {
        let Some(kind) = event["type"].as_str() else { return vec!["no type".to_owned()] };
        let Some(validator) = self.validators.get(kind) else {
            return vec![format!("{kind} has no schema")];
        };
        let described = &self.schemas[kind]["properties"]["data"]["properties"];
        let fields = event["data"].as_object().into_iter().flatten();
        let undescribed = fields
            .filter(|(field, _)| described.get(field.as_str()).is_none())
            .map(|(field, _)| format!("data.{field} is not described"));
        let wrong =
            validator.iter_errors(event).map(|error| format!("{}: {error}", error.instance_path()));
        wrong.chain(undescribed).collect()
    }

    /// What is wrong with these events, repetitions among them: each by itself, and ids that carry
    /// two contents.
    pub fn problems_among<'a>(&self, events: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
        let mut problems = Vec::new();
        let mut seen: HashMap<&str, &Value> = HashMap::new();
        for event in events {
            let id = event["id"].as_str().unwrap_or_default();
            match seen.insert(id, event) {
                None => {
                    let kind = event["type"].as_str().unwrap_or_default();
                    let own = self.problems(event).into_iter();
                    problems.extend(own.map(|problem| format!("{kind} {id}: {problem}")));
                }
                Some(before) if before != event => {
                    problems.push(format!("{id} carries two contents: {before} and {event}"));
                }
                Some(_) => {}
            }
        }
        problems
    }
}
