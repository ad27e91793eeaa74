//! The fonts of titles.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rust_embed::Embed;

/// The fonts for titles, carried in the binary and laid out where the renderer can read them.
pub(crate) fn lay_out_fonts(data: &Path) -> Result<PathBuf> {
    let folder = data.join("fonts");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make `{}`", folder.display()))?;
    for name in TitleFonts::iter().filter(|name| name.ends_with(".ttf")) {
        let Some(font) = TitleFonts::get(&name) else { continue };
        let path = folder.join(&*name);
        if std::fs::read(&path).is_ok_and(|standing| standing == *font.data) {
            continue;
        }
        let temporary = folder.join(format!(".{name}.{}", std::process::id()));
        std::fs::write(&temporary, &font.data)
            .and_then(|()| std::fs::rename(&temporary, &path))
            .with_context(|| format!("cannot lay out the font `{}`", path.display()))?;
    }
    Ok(folder)
}

/// The title fonts this binary carries.
pub(crate) fn font_names() -> Vec<String> {
    TitleFonts::iter().filter_map(|name| name.strip_suffix(".ttf").map(str::to_owned)).collect()
}

#[derive(Embed)]
#[folder = "media/fonts"]
struct TitleFonts;
