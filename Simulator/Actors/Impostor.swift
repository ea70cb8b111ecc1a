internal import FabricControl
internal import FabricCore
internal import FabricWire

/// Somebody whose address a resolver gives for the control plane's: he listens where it would, shows certificates such as it
/// has, under a root of his own, and takes whoever comes. Whatever he is sent is a broken rule.
final class Impostor: SimulatedHost {
    private let world: World
    private let services: ActorServices
    private(set) var host: HostID!

    init(world: World, services: ActorServices) {
        self.world = world
        self.services = services
    }

    func attach(_ host: HostID) { self.host = host }

    func boot(_ now: Now) {
        do {
            let identity = try ControlIdentity(
                vault: MemoryKeyVault(), certificates: services.certificates, cryptography: services.cryptography,
                random: world.random(of: host, "impostor"), dnsNames: [], now: now.wall)
            world.streams.listen(
                host, port: ControlActor.port,
                StreamListener(
                    identity: StreamIdentity(chain: identity.chain), clientCertificate: .optional,
                    verify: { _, _ in nil }))
        } catch {
            preconditionFailure("an impostor makes his own keys: \(error)")
        }
    }

    func crashed() {}

    func handle(_ event: HostEvent, now: Now) {
        guard case .stream(let stream, .received(let bytes)) = event else { return }
        let from = world.streams.remote(stream).flatMap { world.network.owner(of: $0.address) }
        let request = VirtualHTTP.decodeRequest(bytes).request
        let token = request.bearer == nil ? "" : " with its bearer token"
        services.checks.violated(
            .secretsStaySecret, from, "it sent \(request.method.rawValue) \(request.path)\(token) to an impostor")
    }
}
