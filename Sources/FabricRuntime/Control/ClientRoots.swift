internal import FabricControl
internal import FabricCore
internal import FabricIdentity
internal import FabricLinux
internal import Synchronization

/// The clusters' roots where the network's thread can read them: handshakes must not wait for the database.
///
/// A chain is good only when it verifies under the root of the very cluster whose node its leaf claims to be.
final class ClientRoots: Sendable {
    private struct State {
        let certificates = X509Identity()
        var roots: [ClusterID: [UInt8]] = [:]
    }

    private let state = Mutex(State())

    func update(_ roots: [ClusterID: [UInt8]]) { state.withLock { $0.roots = roots } }

    var verifier: PeerVerifier {
        PeerVerifier { chain throws(PeerRefusal) in
            let result = self.state.withLock { state in
                Result { () throws(CertificateError) in
                    try ControlPlane.verifyClient(
                        chain: chain, roots: state.roots, time: LinuxClock.now().wall, state.certificates)
                }
            }
            do throws(CertificateError) {
                return try result.get()
            } catch {
                throw .certificate(error)
            }
        }
    }
}
