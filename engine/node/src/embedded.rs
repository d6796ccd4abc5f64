use crate::{
    Rig,
    config::NodeConfig,
    folder::DataFolder,
    node::{NodeError, identity, links_settings, open_tables, replica_config},
};
use holdfast_host::Host;
use holdfast_kv::Kv;
use holdfast_links::LinksWorker;
use holdfast_replica::{Extras, ReplicaHandle};
use holdfast_tables::TablesHandle;

/// A node without an interface, inside a program that uses its services itself: a data folder, a replica, and the
/// workers of the services. Nobody can ask it for anything over HTTP.
pub struct Embedded {
    host: Host,
    folder: DataFolder,
    replica: ReplicaHandle<Kv>,
    tables: TablesHandle,
    links: LinksWorker,
}

impl Embedded {
    /// Takes the data folder, recovers what is in it, and joins the cluster: most likely one of its own. Of `config`, what
    /// concerns clients counts for nothing.
    ///
    /// # Errors
    /// [`NodeError`]; the folder is as it was.
    pub async fn start(host: Host, config: NodeConfig) -> Result<Embedded, NodeError> {
        config.validate()?;
        let (path, identity) = (config.node.data.clone(), identity(&config));
        let folder = host
            .blocking(move |disk| DataFolder::open(disk, &path, &identity))
            .await?;
        match serve(&host, &config, &folder).await {
            Ok((replica, tables, links)) => Ok(Embedded {
                host,
                folder,
                replica,
                tables,
                links,
            }),
            Err(error) => {
                host.blocking(move |disk| folder.close(disk)).await;
                Err(error)
            }
        }
    }

    /// The tables of the services.
    pub fn tables(&self) -> &TablesHandle {
        &self.tables
    }

    /// Completes when storage has failed for good, with the reason.
    pub async fn failed(&self) -> String {
        let mut failed = self.replica.failed();
        match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().expect("it was waited for"),
            Err(_) => "the replica has stopped".to_owned(),
        }
    }

    /// Stops in order, and gives the folder back.
    pub async fn shutdown(self) {
        self.replica.shutdown().await;
        drop(self.links);
        let folder = self.folder;
        self.host.blocking(move |disk| folder.close(disk)).await;
    }
}

async fn serve(
    host: &Host,
    config: &NodeConfig,
    folder: &DataFolder,
) -> Result<(ReplicaHandle<Kv>, TablesHandle, LinksWorker), NodeError> {
    let settings = links_settings(host, config).await?;
    let rig = Rig::default();
    let replica = replica_config(config, folder, &rig);
    let tables = open_tables(host, folder, &rig).await?;
    let changed = tables.changed();
    let extras = Extras {
        disk_machine: Some(Box::new(tables)),
        observer: None,
    };
    let replica = ReplicaHandle::start_with(host.clone(), replica, Kv::new(), extras).await?;
    let tables = TablesHandle::new(replica.disk(), changed);
    match LinksWorker::start(host, tables.clone(), &settings) {
        Ok(links) => Ok((replica, tables, links)),
        Err(error) => {
            replica.shutdown().await;
            Err(NodeError::Links(error.to_string()))
        }
    }
}
