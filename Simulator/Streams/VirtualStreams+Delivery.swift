internal import FabricCore

/// Handing over what has arrived in order, and the handshake that comes first.
extension VirtualStreams {
    /// Hands over every message that is complete. The receiver may close or crash in between.
    /// Of a host that is held, they wait: the kernel has taken them, the process has not.
    func deliver(_ connection: StreamConnection, _ side: Int, atMost limit: Int = .max) {
        guard let end = connection.end(side), let sender = connection.end(1 - side) else { return }
        var count = 0
        while end.state != .gone, let message = sender.messages.first, message.end <= end.receivedOffset {
            if count == limit || world.mustWait(end.host) { return holdDelivery(connection, side) }
            count += 1
            _ = sender.messages.popFirst()
            end.deliveredOffset = message.end
            switch message.content {
            case .application(let bytes):
                guard end.state == .open else { continue }
                if end.paused || !end.unread.isEmpty {
                    end.unread.append(bytes)
                    end.unreadBytes += bytes.count
                } else {
                    hand(connection, side, bytes)
                }
            case .finish:
                // What the reader has not taken yet comes first.
                while end.state == .open, let bytes = end.unread.popFirst() { hand(connection, side, bytes) }
                finish(connection, side, .finished)
            case .alert(let alert): finish(connection, side, .refusedByPeer(alert))
            case .clientHello: answerHello(connection)
            case .serverFlight(let identity, let wantsCertificate):
                judgeServer(connection, identity, wantsCertificate)
            case .clientFinished(let identity): judgeClient(connection, identity)
            }
        }
    }

    func resume(_ connection: StreamConnection, _ side: Int) {
        guard let end = connection.end(side), end.state == .open else { return }
        while end.state == .open, !end.paused, let bytes = end.unread.popFirst() {
            end.unreadBytes -= bytes.count
            hand(connection, side, bytes)
        }
        // The window has opened.
        if end.state == .open { sendControl(connection, side, .acknowledgement) }
    }

    private func hand(_ connection: StreamConnection, _ side: Int, _ bytes: [UInt8]) {
        guard let end = connection.end(side) else { return }
        counters.messages += 1
        counters.messageBytes += UInt64(bytes.count)
        let stream = connection.identifier(side)
        world.journal?.messageArriving(from: connection.identifier(1 - side))
        bytes.withUnsafeBytes {
            world.trace.record(.streamEvent, host: Int32(end.host), at: world.nowNanoseconds, stream.value, bytes: $0)
        }
        world.tell(end.host, .stream(stream, .received(bytes)))
    }

    // MARK: Handshake

    private func answerHello(_ connection: StreamConnection) {
        guard let server = connection.server, let listener = server.listener, server.state == .handshaking else {
            return
        }
        let wantsCertificate =
            switch listener.clientCertificate {
            case .none: false
            case .optional, .required: true
            }
        server.enqueue(
            .serverFlight(identity: listener.identity, wantsCertificate: wantsCertificate),
            bytes: 250 + listener.identity.handshakeBytes)
        pump(connection, 1)
    }

    private func judgeServer(_ connection: StreamConnection, _ identity: StreamIdentity, _ wantsCertificate: Bool) {
        let client = connection.client
        guard client.state == .handshaking, let options = client.options else { return }
        if let refusal = judge(identity, client.host, options.verify) {
            return refuse(connection, 0, refusal)
        }
        client.state = .open
        client.handshakeDeadline = .max
        client.peerChain = identity.chain
        let shown = wantsCertificate ? options.identity : nil
        client.enqueue(.clientFinished(identity: shown), bytes: 80 + (shown?.handshakeBytes ?? 0))
        pump(connection, 0)
        counters.opened += 1
        tell(connection, 0, .opened(peer: identity.chain), 1, text: "opened")
    }

    private func judgeClient(_ connection: StreamConnection, _ identity: StreamIdentity?) {
        guard let server = connection.server, let listener = server.listener, server.state == .handshaking else {
            return
        }
        if let identity {
            if let refusal = judge(identity, server.host, listener.verify) { return refuse(connection, 1, refusal) }
        } else if case .required = listener.clientCertificate {
            return refuse(connection, 1, TLSRefusal(.certificateRequired, "no client certificate"))
        }
        server.state = .open
        server.handshakeDeadline = .max
        server.peerChain = identity?.chain ?? []
        tell(
            connection, 1,
            .accepted(port: server.local.port, from: server.remote, peer: server.peerChain), 2, text: "accepted")
    }

    private func judge(_ identity: StreamIdentity, _ host: Int, _ verify: StreamVerifier) -> TLSRefusal? {
        if !identity.hasPrivateKey {
            return TLSRefusal(.decryptError, "the certificate's key did not sign the handshake")
        }
        return verify(identity.chain, world.now(of: HostID(index: host)))
    }

    /// Sends an alert and closes; the owner of a client's end is told why.
    private func refuse(_ connection: StreamConnection, _ side: Int, _ refusal: TLSRefusal) {
        guard let end = connection.end(side) else { return }
        world.trace.record(
            .streamEvent, host: Int32(end.host), at: world.nowNanoseconds, 7, text: "refused \(refusal.reason)")
        end.enqueue(.alert(refusal.alert), bytes: VirtualStreams.recordBytes + 2)
        end.state = .closing
        end.handshakeDeadline = .max
        counters.refusedHandshakes += 1
        pump(connection, side)
        if side == 0 { tell(connection, side, .closed(.refusedPeer(refusal)), 6, text: "refused the peer") }
    }
}
