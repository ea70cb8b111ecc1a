import FabricCore
import FabricCrypto
import FabricLinux
import FabricTunnel
import Glibc

/// One tunnel endpoint with one domain and one peer, between a TUN device and a UDP socket: the smallest host there is.
final class TunnelProbe {
    struct Settings {
        var interface: String
        var listen: Endpoint
        var privateKey: [UInt8]
        var address: IPAddress
        var peer: PeerConfiguration
        var mtu: Int
        var keyLogPath: String?
    }

    /// Turns of a readable descriptor before the others have theirs.
    private static let batchesPerTurn = 8

    private let loop: EventLoop
    private let device: TUNDevice
    private let socket: UDPSocket
    private let endpoint: TunnelEndpoint
    private let domain: DomainHandle
    private let keyLog: UnsafeMutablePointer<FILE>?
    private var batch: DatagramBatch
    private var own: PacketBuffer

    init(_ settings: Settings) throws {
        loop = try EventLoop()
        device = try TUNDevice(pattern: settings.interface)
        try device.setMTU(settings.mtu)
        try device.addAddress(settings.address, prefixLength: settings.address.bitWidth)
        try device.setUp(true)
        for prefix in settings.peer.allowedIPs { try device.addRoute(prefix) }
        socket = try UDPSocket(bind: settings.listen)
        endpoint = TunnelEndpoint(cryptography: SystemCryptography(), random: KernelRandom(), limits: .default)
        let id = RoutingDomainID("smoke")!
        guard let domain = endpoint.addDomain(id: id, privateKey: settings.privateKey, mtu: settings.mtu),
            endpoint.addPeer(domain: id, settings.peer) != nil
        else { throw SystemError("set up the tunnel: a key is malformed", code: EINVAL) }
        self.domain = domain
        keyLog = settings.keyLogPath.flatMap { path in
            umask(0o077)
            return fopen(path, "a")
        }
        endpoint.isKeyLogging = keyLog != nil
        batch = DatagramBatch(capacity: DatagramBatch.maximumCapacity, packetCapacity: 2048)
        own = PacketBuffer(packetCapacity: 2048)
    }

    deinit { if let keyLog { fclose(keyLog) } }

    /// Runs until SIGINT or SIGTERM, then prints counters.
    func run() throws {
        try loop.register(device.descriptor) { [unowned self] in attempt { try fromDevice() } }
        try loop.register(socket.descriptor) { [unowned self] in attempt { try fromSocket() } }
        loop.onDeadline = { [unowned self] in
            endpoint.handleDeadline(now: LinuxClock.now())
            attempt { try drain() }
        }
        loop.beforeWaiting = { [unowned self] in loop.setDeadline(endpoint.nextDeadline()?.instant) }
        for signal in [SIGINT, SIGTERM] { try loop.onSignal(signal) { [unowned self] in loop.stop() } }
        report("ready \(device.name) \(socket.localEndpoint)")
        try loop.run()
        report("device \(device.counters)")
        report("received \(socket.receiveCounters)")
        report("sent \(socket.sendCounters)")
    }

    private func attempt(_ body: () throws -> Void) {
        do {
            try body()
        } catch {
            report("failed: \(error)")
            loop.stop()
        }
    }

    private func fromDevice() throws {
        for _ in 0..<TunnelProbe.batchesPerTurn {
            let now = LinuxClock.now()
            batch.count = 0
            var isEmpty = false
            while batch.count < batch.capacity {
                let index = batch.count
                guard try device.read(into: &batch[index]) else {
                    isEmpty = true
                    break
                }
                if case .transmit(let destination) = endpoint.send(domain: domain, &batch[index], now: now) {
                    batch.setEndpoint(index, destination)
                    batch.count += 1
                }
            }
            // What the kernel's queue does not take is lost, as on any link.
            try socket.send(batch)
            try drain()
            if isEmpty { return }
        }
    }

    private func fromSocket() throws {
        for _ in 0..<TunnelProbe.batchesPerTurn {
            let count = try socket.receive(into: &batch)
            if count == 0 { return }
            let now = LinuxClock.now()
            for index in 0..<count where batch[index].count > 0 {
                let source = batch.endpoint(index)
                if case .packet = endpoint.receive(&batch[index], from: source, now: now) {
                    try device.write(batch[index])
                }
            }
            try drain()
        }
    }

    /// Sends what the endpoint has of its own, and tells of its events.
    private func drain() throws {
        while let destination = endpoint.nextTransmit(into: &own) { try socket.send(own, to: destination) }
        while let event = endpoint.nextEvent() {
            switch event {
            case .sessionEstablished(_, let initiator): report("session \(initiator ? "initiator" : "responder")")
            case .endpointChanged(_, let endpoint): report("roamed \(endpoint)")
            case .handshakeGaveUp: report("gave-up")
            case .keysZeroed: report("zeroed")
            }
        }
        while let entry = endpoint.nextKeyLogEntry() {
            guard let keyLog else { continue }
            fputs(entry.text, keyLog)
            fflush(keyLog)
        }
    }
}

/// One line on the standard output, at once: scripts wait for it.
func report(_ line: String) {
    print(line)
    fflush(nil)
}
