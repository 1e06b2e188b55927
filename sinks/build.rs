//! `sqlx::migrate!` reads the folders at compile time; a file added to one must trigger a new build of the crate.

fn main() {
    for folder in ["sqlite/migrations", "timescale/migrations"] {
        println!("cargo:rerun-if-changed={folder}");
    }
}
