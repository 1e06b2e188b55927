//! Finds topologies by their names, and builds them without any service.

use std::sync::Arc;

use interlock_schemas::RecordType;
use interlock_schemas::registry::{Ids, MemoryRegistry};
use interlock_streams::Topology;
use interlock_topologies::{Context, Definition};

/// Returns the topologies with these names; all if no name is given.
pub(crate) fn choose(names: &[String]) -> anyhow::Result<Vec<Definition>> {
    let all = interlock_topologies::all();
    for name in names {
        if all.iter().all(|definition| definition.name != name) {
            let known = all
                .iter()
                .map(|definition| definition.name)
                .collect::<Vec<_>>()
                .join(", ");
            anyhow::bail!("there is no topology `{name}`; there are {known}");
        }
    }
    let wanted = |definition: &&Definition| names.is_empty() || names.iter().any(|name| name == definition.name);
    Ok(all.iter().filter(wanted).copied().collect())
}

/// Returns all topologies, for inspection.
pub(crate) fn shapes() -> anyhow::Result<Vec<Topology>> {
    let all = interlock_topologies::all().iter();
    all.map(|definition| Ok((definition.build)(&without_services())?))
        .collect()
}

/// Returns a context without services; the shape of a topology does not depend on it.
pub(crate) fn without_services() -> Context {
    let mut ids = Ids::default();
    RecordType::ALL.iter().for_each(|record| ids.set(*record, 0));
    Context {
        registry: Arc::new(MemoryRegistry::default()),
        ids,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_topologies_can_be_built_and_unknown_ones_are_named() {
        let all = choose(&[]).unwrap();
        assert!(
            all.iter()
                .all(|definition| (definition.build)(&without_services()).is_ok())
        );
        assert_eq!(choose(&["revenue".into()]).unwrap().len(), 1);
        let Err(error) = choose(&["bookings".into()]) else {
            panic!("accepted")
        };
        assert!(error.to_string().contains("booking, "), "{error}");
    }
}
