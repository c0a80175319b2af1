//! Prints a value for `SIGNING_KEYS`: a key set of one new key. Its `kid` is the argument, or "1".

fn main() {
    let kid = std::env::args().nth(1).unwrap_or_else(|| "1".to_owned());
    println!("{}", sigil::keys::generate(&kid));
}
