internal import FabricDocument
internal import FabricNode
internal import Glibc

/// Reads an agent's status socket. An agent that does not answer soon counts as silent: it must not hold up the run.
enum StatusClient {
    static let timeoutMilliseconds = 500
    static let maximumBytes = 1 << 20

    /// Nil when there is no whole answer.
    static func read(_ path: String) -> NodeStatus? {
        guard let document = readDocument(path) else { return nil }
        return try? JSON.decode(NodeStatus.self, from: document)
    }

    private static func readDocument(_ path: String) -> [UInt8]? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var limit = timeval(tv_sec: timeoutMilliseconds / 1000, tv_usec: timeoutMilliseconds % 1000 * 1000)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard connected == 0 else { return nil }
        var document: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while document.count < maximumBytes {
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count < 0 { return nil }
            if count == 0 { return document }
            document += chunk[..<count]
        }
        return nil
    }
}
