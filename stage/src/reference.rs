//! A reference host: accepts connections and closes them. A prober that reaches two of these knows that it is itself
//! connected. Owns nothing else.

use std::net::SocketAddr;
use tokio::net::TcpListener;

pub(crate) async fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await?;
    loop {
        // Accepting is the whole answer.
        if let Err(e) = listener.accept().await {
            eprintln!("accept: {e}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}
