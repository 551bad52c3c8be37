//! Images as containerd keeps them: a name pointing to an index or manifest, content by digest, unpacked layers as
//! committed snapshots. An image counts as present only if all of it is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tonic::Code;

use super::SNAPSHOTTER;
use super::api::containerd::services::content::v1 as content;
use super::api::containerd::services::images::v1 as images;
use super::api::containerd::services::snapshots::v1 as snapshots;
use super::client::{Client, ask, ask_if, trouble};
use super::documents::{self, Configuration, Document, Manifest};
use crate::error::RuntimeError;
use crate::image::{Image, Platform};

/// Images whose documents are remembered; a few kilobytes each.
const KNOWN: usize = 256;

/// What images' documents say. It is found by their digest, so it never changes: reading it again for every container would
/// be a third of what is asked of containerd.
#[derive(Clone, Default)]
pub(super) struct Images(Arc<Mutex<HashMap<(String, Platform), Image>>>);

impl Images {
    /// The image of that (normalised) name, if it is complete for the platform.
    pub(super) async fn find(
        &self,
        client: &Client,
        name: &str,
        platform: &Platform,
    ) -> Result<Option<Image>, RuntimeError> {
        match self.named(client, name, platform).await? {
            Some(image) if is_unpacked(client, &image.chain_id).await? => Ok(Some(image)),
            Some(_) | None => Ok(None),
        }
    }

    /// The image of that (normalised) name, whether or not its filesystem is there.
    pub(super) async fn named(
        &self,
        client: &Client,
        name: &str,
        platform: &Platform,
    ) -> Result<Option<Image>, RuntimeError> {
        let request = images::GetImageRequest { name: name.to_owned() };
        let answer = ask_if("read image", Code::NotFound, client.images().get(request)).await?;
        match answer.and_then(|a| a.image) {
            Some(record) => self.describe(client, &record, platform).await,
            None => Ok(None),
        }
    }

    /// An image that is here under another name of its repository is given this one too, which names its digest: whatever
    /// the registry would say, it can only be the same.
    pub(super) async fn adopt(
        &self,
        client: &Client,
        name: &str,
        digest: &str,
        platform: &Platform,
    ) -> Result<Option<Image>, RuntimeError> {
        let request = images::ListImagesRequest { filters: vec![format!("target.digest=={digest}")] };
        let answer = ask("list images", client.images().list(request)).await?;
        let repository = name.split_once('@').map_or(name, |(repository, _)| repository);
        let same = |record: &images::Image| {
            record.name.strip_prefix(repository).is_some_and(|rest| rest.starts_with([':', '@']))
        };
        let Some(mut record) = answer.images.into_iter().find(same) else { return Ok(None) };
        record.name = name.to_owned();
        let Some(image) = self.describe(client, &record, platform).await? else { return Ok(None) };
        if !is_unpacked(client, &image.chain_id).await? {
            return Ok(None);
        }
        (record.created_at, record.updated_at) = (None, None);
        let request = images::CreateImageRequest { image: Some(record), ..Default::default() };
        ask_if("name image", Code::AlreadyExists, client.images().create(request)).await?;
        Ok(Some(image))
    }

    /// All complete images for the platform.
    pub(super) async fn list(&self, client: &Client, platform: &Platform) -> Result<Vec<Image>, RuntimeError> {
        let answer = ask("list images", client.images().list(images::ListImagesRequest::default())).await?;
        let mut found = Vec::with_capacity(answer.images.len());
        for record in answer.images {
            if let Some(image) = self.describe(client, &record, platform).await?
                && is_unpacked(client, &image.chain_id).await?
            {
                found.push(image);
            }
        }
        Ok(found)
    }

    /// Everything the documents say that an image record points to; `None` if one is missing or unreadable.
    async fn describe(
        &self,
        client: &Client,
        record: &images::Image,
        platform: &Platform,
    ) -> Result<Option<Image>, RuntimeError> {
        let Some(target) = &record.target else { return Ok(None) };
        let key = (target.digest.clone(), platform.clone());
        let known = || self.0.lock().expect("nothing panics while it holds the known images");
        if let Some(image) = known().get(&key) {
            return Ok(Some(Image { name: record.name.clone(), ..image.clone() }));
        }
        let image = read_documents(client, &record.name, &target.digest, platform).await?;
        if let Some(image) = &image {
            let mut known = known();
            if known.len() >= KNOWN {
                known.clear();
            }
            known.insert(key, image.clone());
        }
        Ok(image)
    }
}

/// Forgets the name and waits until what only it held is gone.
pub(super) async fn remove(client: &Client, name: &str) -> Result<(), RuntimeError> {
    let request = images::DeleteImageRequest { name: name.to_owned(), sync: true, ..Default::default() };
    ask_if("remove image", Code::NotFound, client.images().delete(request)).await?;
    Ok(())
}

async fn read_documents(
    client: &Client,
    name: &str,
    digest: &str,
    platform: &Platform,
) -> Result<Option<Image>, RuntimeError> {
    let Some((manifest_digest, manifest)) = manifest_of(client, digest, platform).await? else { return Ok(None) };
    let Some(bytes) = read(client, &manifest.config.digest).await? else { return Ok(None) };
    let Ok(configuration) = Configuration::read(&bytes) else { return Ok(None) };
    let Some(chain_id) = configuration.chain_ids().pop() else { return Ok(None) };
    Ok(Some(image(name, digest, &manifest_digest, &manifest, &configuration, chain_id)))
}

/// Puts the pieces together.
pub(super) fn image(
    name: &str,
    digest: &str,
    manifest_digest: &str,
    manifest: &Manifest,
    configuration: &Configuration,
    chain_id: String,
) -> Image {
    Image {
        name: name.to_owned(),
        digest: digest.to_owned(),
        manifest_digest: manifest_digest.to_owned(),
        config_digest: manifest.config.digest.clone(),
        chain_id,
        config: configuration.to_config(),
        size: manifest.layers.iter().chain([&manifest.config]).map(|d| d.size).sum(),
    }
}

async fn manifest_of(
    client: &Client,
    digest: &str,
    platform: &Platform,
) -> Result<Option<(String, Manifest)>, RuntimeError> {
    let mut digest = digest.to_owned();
    // An index points to a manifest; an index of indexes is nothing anybody publishes.
    for _ in 0..2 {
        let Some(bytes) = read(client, &digest).await? else { return Ok(None) };
        match documents::read(&bytes) {
            Ok((Document::Manifest(manifest), _)) => return Ok(Some((digest, manifest))),
            Ok((Document::Index(entries), _)) => match documents::choose(&entries, platform) {
                Some(entry) => digest.clone_from(&entry.digest),
                None => return Ok(None),
            },
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
}

/// A small blob (manifest or configuration) from the content store.
pub(super) async fn read(client: &Client, digest: &str) -> Result<Option<Vec<u8>>, RuntimeError> {
    let what = "read content";
    let request = content::ReadContentRequest { digest: digest.to_owned(), ..Default::default() };
    let Some(mut stream) = ask_if(what, Code::NotFound, client.content().read(request)).await? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(piece)) => bytes.extend_from_slice(&piece.data),
            Ok(None) => return Ok(Some(bytes)),
            // A Go server may send the headers before it looks.
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(trouble(what, &status)),
        }
    }
}

/// Whether the filesystem of that chain id is there.
pub(super) async fn is_unpacked(client: &Client, chain_id: &str) -> Result<bool, RuntimeError> {
    let request = snapshots::StatSnapshotRequest { snapshotter: SNAPSHOTTER.into(), key: chain_id.to_owned() };
    let answer = ask_if("look for layer", Code::NotFound, client.snapshots().stat(request)).await?;
    Ok(answer.and_then(|a| a.info).is_some_and(|info| info.kind == snapshots::Kind::Committed as i32))
}
