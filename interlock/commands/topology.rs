//! `interlock topology`: prints the topologies.

use std::fmt;

use interlock_streams::Topology;
use interlock_streams::topology::mermaid;
use interlock_topologies::{Definition, choose, shapes};
use serde::Serialize;

use super::print;
use crate::Status;
use crate::cli::Topology as Arguments;

/// A topology, for programs.
#[derive(Serialize)]
struct Row {
    name: &'static str,
    about: &'static str,
    reads: Vec<String>,
    follows: Vec<String>,
    writes: Vec<String>,
    description: String,
    mermaid: String,
}

/// Some topologies.
#[derive(Serialize)]
#[serde(transparent)]
struct Rows(Vec<Row>);

/// Describes the topologies, without any service.
pub(crate) fn call(arguments: &Arguments) -> anyhow::Result<Status> {
    let chosen = choose(&arguments.names)?;
    let topologies = shapes(&chosen)?;
    if arguments.mermaid {
        print::text(mermaid(&topologies).as_bytes())?;
    } else {
        let rows = chosen.iter().zip(&topologies);
        let rows = Rows(rows.map(|(definition, topology)| row(definition, topology)).collect());
        print::report(&rows, arguments.json)?;
    }
    Ok(Status::Held)
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, row) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { "\n" };
            write!(f, "{space}# {}: {}\n{}", row.name, row.about, row.description)?;
        }
        Ok(())
    }
}

fn row(definition: &Definition, topology: &Topology) -> Row {
    Row {
        name: definition.name,
        about: definition.about,
        reads: topology.source_topics(),
        follows: topology.global_topics(),
        writes: topology
            .output_topics()
            .into_iter()
            .chain(topology.dlq_topics())
            .collect(),
        description: topology.describe(),
        mermaid: topology.mermaid(),
    }
}

#[cfg(test)]
mod tests {
    use interlock_topologies::all;

    use super::*;

    #[test]
    fn the_picture_in_the_documentation_is_the_one_that_is_printed() {
        let picture = mermaid(&shapes(all()).unwrap());
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/topologies.md");
        let page = std::fs::read_to_string(page).unwrap();
        assert!(
            page.contains(&format!("```mermaid\n{picture}```")),
            "docs/topologies.md should have the output of `interlock topology --mermaid`:\n{picture}"
        );
    }
}
