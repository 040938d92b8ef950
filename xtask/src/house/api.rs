//! The public interface of the library: everything that `lib.rs` reaches by name, one per line.
//!
//! It is compared with `xtask/public-api.txt`, so that nothing becomes public by accident.
//! `UPDATE_PUBLIC_API=1 cargo test -p xtask public` writes the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use quote::ToTokens;
use syn::{ImplItem, Item, ItemUse, Type, UseTree, Visibility};

/// The items of each module, by its path: `["flow", "stream"]`.
type Modules = BTreeMap<Vec<String>, Vec<Item>>;

/// An item, by its module and its name.
type Name = (Vec<String>, String);

/// Lists the public items and methods of the crate whose `lib.rs` lies in this folder.
pub(super) fn list(folder: &Path) -> Result<BTreeSet<String>> {
    let mut modules = Modules::new();
    load(&folder.join("lib.rs"), folder, Vec::new(), &mut modules)?;
    let mut api = Api { modules: &modules, lines: BTreeSet::new(), types: BTreeMap::new() };
    api.module(&[], "");
    api.methods();
    Ok(api.lines)
}

/// Reads a file and the modules that it declares, which lie in `folder`.
fn load(file: &Path, folder: &Path, module: Vec<String>, modules: &mut Modules) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let items = syn::parse_file(&text).with_context(|| file.display().to_string())?.items;
    for item in &items {
        let Item::Mod(item) = item else { continue };
        // Tests and fuzz targets are no part of the interface.
        if item.content.is_some() || item.attrs.iter().any(|attr| attr.path().is_ident("cfg")) {
            continue;
        }
        let name = item.ident.to_string();
        let below = folder.join(&name);
        let flat = folder.join(format!("{name}.rs"));
        let file = if flat.exists() { flat } else { below.join("mod.rs") };
        let path = module.iter().cloned().chain([name]).collect();
        load(&file, &below, path, modules)?;
    }
    modules.insert(module, items);
    Ok(())
}

/// The interface as far as it has been walked.
struct Api<'a> {
    modules: &'a Modules,
    lines: BTreeSet<String>,
    /// The public path of each public type.
    types: BTreeMap<Name, String>,
}

impl Api<'_> {
    /// Adds the public items of a module, which users reach under this name.
    fn module(&mut self, module: &[String], public: &str) {
        let modules = self.modules;
        for item in modules.get(module).into_iter().flatten() {
            if let Item::Use(item) = item
                && matches!(item.vis, Visibility::Public(_))
            {
                for (source, name) in uses(item) {
                    self.reexport(module, &source, &name, public);
                }
            } else if is_public(item)
                && let Some(name) = name_of(item)
            {
                self.item(module, &name, public, &name);
            }
        }
    }

    /// Adds what a `pub use` of this module names.
    fn reexport(&mut self, module: &[String], source: &[String], name: &str, public: &str) {
        let Some(path) = self.absolute(module, source) else { return };
        if name == "*" {
            self.module(&path, public);
            return;
        }
        if self.modules.contains_key(&path) {
            self.lines.insert(format!("mod {public}{name}"));
            self.module(&path, &format!("{public}{name}::"));
        } else if let Some((last, module)) = path.split_last() {
            self.item(module, last, public, name);
        }
    }

    /// Adds an item, which is known to users by another name perhaps.
    fn item(&mut self, module: &[String], item: &str, public: &str, name: &str) {
        let modules = self.modules;
        for candidate in modules.get(module).into_iter().flatten() {
            if let Item::Use(used) = candidate {
                for (source, _) in uses(used).into_iter().filter(|(_, alias)| alias == item) {
                    self.reexport(module, &source, name, public);
                }
            } else if name_of(candidate).as_deref() == Some(item) {
                let path = format!("{public}{name}");
                match candidate {
                    Item::Mod(_) => {
                        let below: Vec<_> =
                            module.iter().cloned().chain([item.to_owned()]).collect();
                        self.lines.insert(format!("mod {path}"));
                        self.module(&below, &format!("{path}::"));
                        continue;
                    }
                    Item::Fn(function) => {
                        let mut renamed = function.sig.clone();
                        renamed.ident = syn::Ident::new(name, renamed.ident.span());
                        self.lines.insert(format!("fn {public}{}", signature(&renamed)))
                    }
                    Item::Struct(_) | Item::Enum(_) | Item::Union(_) | Item::Trait(_) => {
                        self.types.insert((module.to_vec(), item.to_owned()), path.clone());
                        self.lines.insert(format!("{} {path}", keyword(candidate)))
                    }
                    _ => self.lines.insert(format!("{} {path}", keyword(candidate))),
                };
            }
        }
    }

    /// Adds the public methods and constants of the public types.
    fn methods(&mut self) {
        for (module, items) in self.modules {
            for item in items {
                let Item::Impl(item) = item else { continue };
                let Type::Path(own) = item.self_ty.as_ref() else { continue };
                let Some(name) = own.path.segments.last().map(|last| last.ident.to_string()) else {
                    continue;
                };
                let Some(path) = self.types.get(&self.definition(module, &name)) else { continue };
                // They change without notice.
                if path.starts_with("internal::") {
                    continue;
                }
                for part in item.items.iter().filter(|_| item.trait_.is_none()) {
                    let line = match part {
                        ImplItem::Fn(f) if is_pub(&f.vis) => {
                            format!("fn {path}::{}", signature(&f.sig))
                        }
                        ImplItem::Const(c) if is_pub(&c.vis) => {
                            format!("const {path}::{}", c.ident)
                        }
                        _ => continue,
                    };
                    self.lines.insert(line);
                }
            }
        }
    }

    /// Returns where a type that a module names is defined.
    fn definition(&self, module: &[String], name: &str) -> Name {
        for item in self.modules.get(module).into_iter().flatten() {
            let Item::Use(item) = item else { continue };
            for (source, alias) in uses(item) {
                if alias == name
                    && let Some(path) = self.absolute(module, &source)
                    && let Some((last, module)) = path.split_last()
                {
                    return self.definition(module, last);
                }
            }
        }
        (module.to_vec(), name.to_owned())
    }

    /// Returns a path of a `use` from the crate's root, or nothing if it leads to another crate.
    fn absolute(&self, module: &[String], source: &[String]) -> Option<Vec<String>> {
        let mut base = module.to_vec();
        let mut rest = source;
        while let Some((first, behind)) = rest.split_first() {
            match first.as_str() {
                "crate" => base.clear(),
                "self" => {}
                "super" => drop(base.pop()),
                _ => break,
            }
            rest = behind;
        }
        if rest.len() == source.len() {
            let child: Vec<_> = base.iter().cloned().chain(rest.first().cloned()).collect();
            if !self.modules.contains_key(&child) {
                return None;
            }
        }
        base.extend(rest.iter().cloned());
        Some(base)
    }
}

/// Returns each path that a `use` names, with the name that it gives it.
fn uses(item: &ItemUse) -> Vec<(Vec<String>, String)> {
    let mut found = Vec::new();
    flatten(&item.tree, Vec::new(), &mut found);
    found
}

fn flatten(tree: &UseTree, front: Vec<String>, found: &mut Vec<(Vec<String>, String)>) {
    let with = |name: &syn::Ident| front.iter().cloned().chain([name.to_string()]).collect();
    match tree {
        UseTree::Path(path) => flatten(&path.tree, with(&path.ident), found),
        UseTree::Name(name) if name.ident == "self" => {
            let last = front.last().cloned().unwrap_or_default();
            found.push((front, last));
        }
        UseTree::Name(name) => found.push((with(&name.ident), name.ident.to_string())),
        UseTree::Rename(name) => found.push((with(&name.ident), name.rename.to_string())),
        UseTree::Glob(_) => found.push((front, "*".to_owned())),
        UseTree::Group(group) => {
            group.items.iter().for_each(|tree| flatten(tree, front.clone(), found));
        }
    }
}

fn is_pub(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_public(item: &Item) -> bool {
    match item {
        // `fuzz`, which only tests and the fuzzer build.
        Item::Mod(item) => {
            is_pub(&item.vis) && !item.attrs.iter().any(|a| a.path().is_ident("cfg"))
        }
        Item::Const(item) => is_pub(&item.vis),
        Item::Enum(item) => is_pub(&item.vis),
        Item::Fn(item) => is_pub(&item.vis),
        Item::Static(item) => is_pub(&item.vis),
        Item::Struct(item) => is_pub(&item.vis),
        Item::Trait(item) => is_pub(&item.vis),
        Item::Type(item) => is_pub(&item.vis),
        Item::Union(item) => is_pub(&item.vis),
        _ => false,
    }
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Mod(item) => &item.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

fn keyword(item: &Item) -> &'static str {
    match item {
        Item::Const(_) => "const",
        Item::Enum(_) => "enum",
        Item::Static(_) => "static",
        Item::Struct(_) => "struct",
        Item::Trait(_) => "trait",
        Item::Type(_) => "type",
        Item::Union(_) => "union",
        _ => "item",
    }
}

/// Returns a function's name, arguments and result in one line.
fn signature(signature: &syn::Signature) -> String {
    let mut signature = signature.clone();
    signature.generics.where_clause = None;
    let text = signature.to_token_stream().to_string();
    let text = text.split_once("fn ").map_or(text.as_str(), |(_, text)| text);
    let mut tidy = text.to_owned();
    for (wide, narrow) in [
        (" :: ", "::"),
        (" < ", "<"),
        (" >", ">"),
        ("& ", "&"),
        (" ,", ","),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        (" :", ":"),
        ("< ", "<"),
        ("[ ", "["),
        (" ]", "]"),
        (" ;", ";"),
    ] {
        tidy = tidy.replace(wide, narrow);
    }
    tidy
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;
    use crate::workspace::Workspace;

    /// Returns the list for a crate of these files.
    fn of(files: &[(&str, &str)]) -> Vec<String> {
        let folder = env::temp_dir().join(format!("public-api-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        for (name, text) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let list = list(&folder).unwrap();
        fs::remove_dir_all(folder).unwrap();
        list.into_iter().collect()
    }

    #[test]
    fn what_is_reached_by_name_is_public_and_nothing_else() {
        let root = "mod a;\npub mod b;\n#[cfg(test)]\npub mod c;\npub use a::{Used, work as job};";
        let a = "pub struct Used;\npub struct Unused;\npub fn work(a: &str) -> Option<u8> { None }\n\
                 impl Used { pub fn method(&self) {}\n fn private(&self) {} pub const C: u8 = 1; }\n\
                 impl Unused { pub fn hidden(&self) {} }";
        let b = "mod inner;\npub use inner::*;\npub(crate) fn no() {}\npub use std::io::Read;";
        let inner = "use crate::a::Used;\npub enum E { A }\nimpl Used { pub fn second(self) {} }";
        let files = [("lib.rs", root), ("a.rs", a), ("b/mod.rs", b), ("b/inner.rs", inner)];
        assert_eq!(
            of(&files),
            [
                "const Used::C",
                "enum b::E",
                "fn Used::method(&self)",
                "fn Used::second(self)",
                "fn job(a: &str) -> Option<u8>",
                "mod b",
                "struct Used",
            ]
        );
    }

    #[test]
    fn the_public_interface_is_the_one_written_down() {
        let root = Workspace::locate().unwrap().root;
        let list = list(&root.join("imds-audit/src")).unwrap();
        let text = list.iter().map(|line| format!("{line}\n")).collect::<String>();
        let file = root.join("xtask/public-api.txt");
        if env::var_os("UPDATE_PUBLIC_API").is_some() {
            fs::write(&file, &text).unwrap();
        }
        let written = fs::read_to_string(&file).unwrap();
        assert!(
            text == written,
            "the public interface changed; `UPDATE_PUBLIC_API=1 cargo test -p xtask public` \
             writes it to xtask/public-api.txt: look at the difference"
        );
    }
}
