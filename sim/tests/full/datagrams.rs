use super::*;
use holdfast_host::Datagrams;
use std::{io::ErrorKind, time::Duration};

async fn pair(world: &World) -> (Datagrams, Datagrams) {
    idle(world, 0);
    idle(world, 1);
    let sender = world.host(0).network.bind(address(0)).await.unwrap();
    let receiver = world.host(1).network.bind(address(1)).await.unwrap();
    (sender, receiver)
}

/// Numbers of the datagrams that arrive until none has for ten seconds.
async fn drain(world: &World, receiver: &Datagrams) -> Vec<u32> {
    let host = world.host(1);
    let mut numbers = Vec::new();
    let mut buffer = [0; 4];
    while let Ok(received) = host
        .timeout(Duration::from_secs(10), receiver.receive(&mut buffer))
        .await
    {
        assert_eq!(received.unwrap(), (4, address(0)));
        numbers.push(u32::from_le_bytes(buffer));
    }
    numbers
}

async fn exchange(world: World) -> Vec<u32> {
    let (sender, receiver) = pair(&world).await;
    for number in 0..500u32 {
        sender
            .send_to(&number.to_le_bytes(), address(1))
            .await
            .unwrap();
        world.sleep(Duration::from_micros(100)).await;
    }
    drain(&world, &receiver).await
}

#[test]
fn a_quiet_network_carries_each_once_and_in_order() {
    let ended = simulate(calm(1), exchange);
    assert_eq!(ended.output.unwrap(), (0..500).collect::<Vec<_>>());
    assert_eq!(ended.counts.datagrams, 500);
}

#[test]
fn a_rough_one_loses_doubles_and_reorders() {
    let ended = simulate(rough(1), exchange);
    let numbers = ended.output.unwrap();
    let mut distinct = numbers.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!((450..495).contains(&distinct.len()), "some are lost");
    assert!(numbers.len() > distinct.len() + 5, "some come twice");
    assert!(!numbers.is_sorted(), "some overtake others");
    assert!(ended.counts.links.lost > 5);
}

#[test]
fn a_socket_holds_so_many_and_no_more() {
    let ended = simulate(calm(1), |world| async move {
        let (sender, receiver) = pair(&world).await;
        for number in 0..1_500u32 {
            sender
                .send_to(&number.to_le_bytes(), address(1))
                .await
                .unwrap();
        }
        world.sleep(Duration::from_secs(1)).await;
        drain(&world, &receiver).await
    });
    assert_eq!(ended.output.unwrap(), (0..1_024).collect::<Vec<_>>());
    assert_eq!(ended.counts.overflows, 476);
}

#[test]
fn too_large_a_datagram_is_refused() {
    simulate(calm(1), |world| async move {
        let (sender, _receiver) = pair(&world).await;
        let error = sender.send_to(&vec![0; 65_508], address(1)).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
        sender.send_to(&vec![0; 65_507], address(1)).await.unwrap();
    });
}

#[test]
fn what_a_dead_machine_had_in_its_queue_is_gone() {
    simulate(calm(1), |world| async move {
        let (sender, receiver) = pair(&world).await;
        sender.send_to(b"lost", address(1)).await.unwrap();
        world.sleep(Duration::from_secs(1)).await;
        world.kill(1);
        world.restart(1);
        let host = world.host(1);
        let again = host.network.bind(address(1)).await.unwrap();
        // The dead process's socket, dropped only now, must not close its successor's port.
        drop(receiver);
        sender.send_to(b"new!", address(1)).await.unwrap();
        let mut buffer = [0; 4];
        again.receive(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"new!");
    });
}
