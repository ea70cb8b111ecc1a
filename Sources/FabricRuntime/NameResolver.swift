internal import Dispatch
internal import FabricCore
internal import Glibc
internal import Synchronization

/// Looks names up as every program on this machine does (`getaddrinfo`: files, DNS, whatever the machine is set up for), on
/// threads of its own, since that blocks. It does not tell how long an answer is good for.
final class NameResolver: Sendable {
    /// Lookups under way. One that the library does not end in time goes on in the background and counts until it ends.
    static let maximumLookups = 4
    /// Addresses of one name that are given on.
    static let maximumAddresses = 16

    typealias Outcome = Result<ResolvedAddresses, ResolutionFailure>

    private let queue = DispatchQueue(label: "rap.resolver", attributes: .concurrent)
    private let underWay = Mutex(0)

    /// Calls `completion` once, on a thread of its own, within `timeout`.
    func resolve(_ name: HostName, timeout: Duration, completion: @escaping @Sendable (Outcome) -> Void) {
        let isFull = underWay.withLock { count in
            if count == Self.maximumLookups { return true }
            count += 1
            return false
        }
        let once = Once(completion)
        if isFull { return queue.async { once.complete(.failure(.failed("its lookups do not end"))) } }
        queue.asyncAfter(deadline: .now() + .nanoseconds(Int(timeout.nanoseconds))) {
            once.complete(.failure(.timedOut))
        }
        queue.async { [self] in
            let outcome = Self.lookUp(name)
            underWay.withLock { $0 -= 1 }
            once.complete(outcome)
        }
    }

    /// Blocks until the library has an answer.
    static func lookUp(_ name: HostName) -> Outcome {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_ADDRCONFIG
        var found: UnsafeMutablePointer<addrinfo>?
        // The dot says that the name is whole: no search list is tried on it. A name without one may be local.
        let text = name.text.utf8.contains(UInt8(ascii: ".")) ? name.text + "." : name.text
        var status = getaddrinfo(text, nil, &hints, &found)
        // Files list names without the dot.
        if status != 0, text != name.text { status = getaddrinfo(name.text, nil, &hints, &found) }
        guard status == 0 else { return .failure(failure(status)) }
        defer { freeaddrinfo(found) }
        var addresses: [IPAddress] = []
        var next = found
        while let entry = next, addresses.count < maximumAddresses {
            if let address = entry.pointee.ai_addr.flatMap({ parse($0) }), !addresses.contains(address) {
                addresses.append(address)
            }
            next = entry.pointee.ai_next
        }
        if addresses.isEmpty { return .failure(.noSuchName) }
        return .success(ResolvedAddresses(addresses: addresses, lifetime: nil))
    }

    private static func failure(_ status: Int32) -> ResolutionFailure {
        switch status {
        case EAI_NONAME: .noSuchName
        case EAI_SYSTEM: .failed(String(cString: strerror(errno)))
        default: .failed(String(cString: gai_strerror(status)))
        }
    }

    /// Addresses that need a zone are left out: a name can't say which link it means.
    private static func parse(_ raw: UnsafePointer<sockaddr>) -> IPAddress? {
        let area = UnsafeRawPointer(raw)
        switch Int32(raw.pointee.sa_family) {
        case AF_INET:
            return IPAddress(bytes: UnsafeRawBufferPointer(start: area + 4, count: 4))
        case AF_INET6:
            let address = IPAddress(bytes: UnsafeRawBufferPointer(start: area + 8, count: 16))
            return address.flatMap { $0.high >> 54 == 0xFE80 >> 6 ? nil : $0 }
        default: return nil
        }
    }

    /// A completion that is called at most once.
    private final class Once: Sendable {
        private let completion: Mutex<(@Sendable (Outcome) -> Void)?>

        init(_ completion: @escaping @Sendable (Outcome) -> Void) { self.completion = Mutex(completion) }

        func complete(_ outcome: Outcome) {
            let first = completion.withLock { held in
                defer { held = nil }
                return held
            }
            first?(outcome)
        }
    }
}
