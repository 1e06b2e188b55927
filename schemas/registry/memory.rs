//! A registry in the process, for tests and for `interlock dev`.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use apache_avro::Schema;

use super::{Answer, Registry, RegistryError, compatibility};
use crate::frame::SchemaRef;

/// Name of the registry in errors.
const NAME: &str = "in memory";

/// A registry that lasts as long as the process. Ids begin with 1; a schema has the same id under all subjects.
#[derive(Debug, Default)]
pub struct MemoryRegistry {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Registered schemas; index n has id n + 1.
    schemas: Vec<String>,
    /// Ids of each subject's versions, in order.
    versions: HashMap<String, Vec<u32>>,
    /// Subjects that require full compatibility.
    strict: HashSet<String>,
    down: bool,
}

impl MemoryRegistry {
    /// Simulates a registry that is out of reach, or back again.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    /// Returns the GUID under which the schema of an id can be asked for, too.
    pub fn guid_of(id: u32) -> [u8; 16] {
        let mut guid = *b"interlock\0\0\0\0\0\0\0";
        guid[12..].copy_from_slice(&id.to_be_bytes());
        guid
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer<T: Send + 'static>(
        &self,
        request: &str,
        answer: impl FnOnce(&mut State) -> Result<T, RegistryError>,
    ) -> Answer<'static, T> {
        let mut state = self.lock();
        let answer = match state.down {
            true => Err(RegistryError::Unreachable {
                registry: NAME.to_owned(),
                request: request.to_owned(),
                cause: "it plays dead".to_owned(),
                hint: "MemoryRegistry::set_down",
            }),
            false => answer(&mut state),
        };
        Box::pin(std::future::ready(answer))
    }
}

impl State {
    fn schema(&self, id: u32) -> Option<&String> {
        self.schemas.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    fn check(&self, subject: &str, schema: &str) -> Result<(), RegistryError> {
        let newer = parse(schema, subject)?;
        if !self.strict.contains(subject) {
            return Ok(());
        }
        let mut problems = Vec::new();
        for (version, id) in self.versions.get(subject).into_iter().flatten().enumerate() {
            let Some(older) = self.schema(*id) else { continue };
            let older = parse(older, subject)?;
            problems.extend(
                compatibility::problems(&older, &newer)
                    .into_iter()
                    .map(|problem| format!("version {}: {problem}", version + 1)),
            );
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(RegistryError::Incompatible {
                subject: subject.to_owned(),
                problems,
            }),
        }
    }

    fn register(&mut self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        let known = self.schemas.iter().position(|known| known == schema);
        let versions = self.versions.entry(subject.to_owned()).or_default();
        if let Some(id) = known.map(|index| index as u32 + 1).filter(|id| versions.contains(id)) {
            return Ok(id);
        }
        self.check(subject, schema)?;
        let index = known.unwrap_or_else(|| {
            self.schemas.push(schema.to_owned());
            self.schemas.len() - 1
        });
        let id = index as u32 + 1;
        self.versions.entry(subject.to_owned()).or_default().push(id);
        Ok(id)
    }
}

fn parse(schema: &str, subject: &str) -> Result<Schema, RegistryError> {
    Schema::parse_str(schema).map_err(|error| RegistryError::Refused {
        registry: NAME.to_owned(),
        request: format!("a schema for subject {subject}"),
        cause: error.to_string(),
        hint: "the schema",
    })
}

impl Registry for MemoryRegistry {
    fn register<'a>(&'a self, subject: &'a str, schema: &'a str) -> Answer<'a, u32> {
        self.answer("register", |state| state.register(subject, schema))
    }

    fn schema_by_id(&self, id: u32) -> Answer<'_, String> {
        self.answer("schema_by_id", |state| {
            let schema = state.schema(id).cloned();
            schema.ok_or_else(|| RegistryError::NotRegistered {
                id,
                registry: NAME.to_owned(),
            })
        })
    }

    fn schema_by_guid(&self, guid: [u8; 16]) -> Answer<'_, String> {
        self.answer("schema_by_guid", |state| {
            let mut ids = 1..=state.schemas.len() as u32;
            let found = ids
                .find(|id| Self::guid_of(*id) == guid)
                .and_then(|id| state.schema(id));
            found.cloned().ok_or_else(|| RegistryError::GuidNotRegistered {
                guid: SchemaRef::Guid(guid).to_string(),
                registry: NAME.to_owned(),
            })
        })
    }

    fn require_full_compatibility<'a>(&'a self, subject: &'a str) -> Answer<'a, ()> {
        self.answer("require_full_compatibility", |state| {
            state.strict.insert(subject.to_owned());
            Ok(())
        })
    }

    fn check<'a>(&'a self, subject: &'a str, schema: &'a str) -> Answer<'a, ()> {
        self.answer("check", |state| state.check(subject, schema))
    }
}
