//! `sqlx::migrate!` reads the folders at compile time; a file added to one must compile the crate anew.

fn main() {
    for folder in ["sqlite/migrations", "timescale/migrations"] {
        println!("cargo:rerun-if-changed={folder}");
    }
}
