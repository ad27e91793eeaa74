//! Glances: what each camera shows and how loud it is, now and then, for as long as somebody looks. Nothing is decoded for
//! nobody, and never two at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::ids::CameraId;
use crate::ports::PortError;
use crate::ports::media_engine::{GlanceOrder, JobWatch, Level, MediaEngine};
use crate::ports::media_store::MediaStore;
use crate::use_cases::clips::Workspace;
use crate::use_cases::clips::footage::{CameraFootage, FootageError};

/// A glance is looked at again after so long.
pub const GLANCE_LASTS: TimeDelta = TimeDelta::seconds(3);
/// A camera whose last part is older shows nothing now.
const OLD_AFTER: TimeDelta = TimeDelta::seconds(15);
/// Width of the picture, in pixels.
const WIDTH: u32 = 480;

/// What one camera showed last.
#[derive(Debug, Clone)]
pub struct Seen {
    pub at: DateTime<Utc>,
    /// A JPEG; empty of sound alone.
    pub picture: Bytes,
    /// None without sound.
    pub level: Option<Level>,
}

/// Looks at cameras.
#[derive(Clone)]
pub struct Glances {
    footage: CameraFootage,
    engine: Arc<dyn MediaEngine>,
    store: Arc<dyn MediaStore>,
    seen: Arc<Mutex<HashMap<CameraId, Seen>>>,
    /// Whoever holds it looks; the others wait and find what that one saw.
    looking: Arc<tokio::sync::Mutex<()>>,
}

impl Glances {
    pub fn new(
        footage: CameraFootage,
        engine: Arc<dyn MediaEngine>,
        store: Arc<dyn MediaStore>,
    ) -> Self {
        Self { footage, engine, store, seen: Arc::default(), looking: Arc::default() }
    }

    /// What a camera showed when somebody looked last, if that is not long ago. Waits for nothing.
    pub fn last(&self, camera: CameraId) -> Option<Seen> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.footage.clock.now();
        seen.get(&camera).filter(|seen| now - seen.at < OLD_AFTER).cloned()
    }

    /// What a camera shows now; `None` when it sends nothing.
    pub async fn look(&self, camera: CameraId) -> Result<Option<Seen>, PortError> {
        let is_fresh = |seen: &Seen| self.footage.clock.now() - seen.at < GLANCE_LASTS;
        if let Some(seen) = self.last(camera).filter(is_fresh) {
            return Ok(Some(seen));
        }
        let _mine = self.looking.lock().await;
        if let Some(seen) = self.last(camera).filter(is_fresh) {
            return Ok(Some(seen));
        }
        let folder = self.store.workspace().await.map_err(|e| PortError::passing("look", e))?;
        let folder = Workspace(folder);
        let (source, output) = (folder.0.join("now.mp4"), folder.0.join("now.jpg"));
        let at = self.footage.clock.now();
        match self.footage.join_last(camera, at - OLD_AFTER, &source).await {
            Ok(()) => {}
            Err(FootageError::Port(error)) => return Err(error),
            Err(_) => return Ok(None),
        }
        let order = GlanceOrder { source, width_max: WIDTH, output: output.clone() };
        let glance = self.engine.glance(order, &JobWatch::unwatched()).await;
        let glance = glance.map_err(|e| PortError::passing("look at a camera", e))?;
        let picture = if glance.has_picture {
            tokio::fs::read(&output).await.map_err(|e| PortError::passing("read a still", e))?
        } else {
            Vec::new()
        };
        let seen = Seen { at, picture: picture.into(), level: glance.level };
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(camera, seen.clone());
        Ok(Some(seen))
    }
}
