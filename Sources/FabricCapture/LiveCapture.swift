internal import CFabricPcap
internal import Glibc
internal import Synchronization

/// Frames from an interface, in the network namespace of the thread that makes this; afterwards any one thread may use it.
public final class LiveCapture {
    public struct Options: Sendable {
        /// Bytes kept of each frame; the default keeps even what offloading made larger than an IP packet.
        public var snapshotBytes: Int32 = 262_144
        /// The kernel's buffer.
        public var bufferBytes: Int32 = 32 << 20
        /// A filter expression as tcpdump takes them; nil for everything.
        public var filter: String?

        public init() {}
    }

    /// The kernel hands frames over in blocks, at the latest after this time.
    static let deliveryMilliseconds: Int32 = 10

    public struct Statistics: Hashable, Sendable {
        public var received: UInt64
        /// Lost because the buffer was full.
        public var dropped: UInt64
    }

    public let interface: String
    public let link: LinkType
    /// Readable when frames wait.
    public let descriptor: Int32
    private let handle: OpaquePointer

    /// `interface` is a name, or `any` for all of the namespace (each forwarded packet then shows twice).
    public init(interface: String, options: Options) throws(CaptureError) {
        self.interface = interface
        let operation = "capture on \(interface)"
        var message = [CChar](repeating: 0, count: Int(PCAP_ERRBUF_SIZE))
        guard let handle = pcap_create(interface, &message) else {
            throw CaptureError(operation: operation, message: text(message))
        }
        do {
            link = try LiveCapture.activate(handle, options, operation)
        } catch {
            pcap_close(handle)
            throw error
        }
        descriptor = pcap_get_selectable_fd(handle)
        self.handle = handle
    }

    deinit { pcap_close(handle) }

    /// Hands the next frame to `body`; nil when none waits.
    public func next<Value>(_ body: (CapturedFrame) -> Value) throws(CaptureError) -> Value? {
        var header: UnsafeMutablePointer<pcap_pkthdr>?
        var data: UnsafePointer<UInt8>?
        switch pcap_next_ex(handle, &header, &data) {
        case 1: return body(CapturedFrame(header!.pointee, data!))
        case 0: return nil
        default: throw CaptureError(operation: "capture on \(interface)", message: String(cString: pcap_geterr(handle)))
        }
    }

    public func statistics() -> Statistics {
        var counts = pcap_stat()
        guard pcap_stats(handle, &counts) == 0 else { return Statistics(received: 0, dropped: 0) }
        return Statistics(received: UInt64(counts.ps_recv), dropped: UInt64(counts.ps_drop))
    }

    private static func activate(
        _ handle: OpaquePointer, _ options: Options, _ operation: String
    ) throws(CaptureError) -> LinkType {
        var message = [CChar](repeating: 0, count: Int(PCAP_ERRBUF_SIZE))
        pcap_set_snaplen(handle, options.snapshotBytes)
        pcap_set_buffer_size(handle, options.bufferBytes)
        pcap_set_promisc(handle, 0)
        // Not immediate mode: the kernel would reserve room for a whole snapshot per frame, and lose frames soon.
        pcap_set_timeout(handle, LiveCapture.deliveryMilliseconds)
        pcap_set_tstamp_precision(handle, PCAP_TSTAMP_PRECISION_NANO)
        // Positive results are warnings.
        guard pcap_activate(handle) >= 0, pcap_setnonblock(handle, 1, &message) >= 0 else {
            throw CaptureError(operation: operation, message: String(cString: pcap_geterr(handle)))
        }
        let number = pcap_datalink(handle)
        guard let link = LinkType(number: number) else {
            throw CaptureError(operation: operation, message: "its link type \(number) is not supported")
        }
        if let filter = options.filter { try install(filter, handle, operation) }
        return link
    }

    private static func install(_ filter: String, _ handle: OpaquePointer, _ operation: String) throws(CaptureError) {
        var program = bpf_program()
        guard pcap_compile(handle, &program, filter, 1, UInt32.max) == 0 else {
            throw CaptureError(operation: operation, message: "the filter: \(String(cString: pcap_geterr(handle)))")
        }
        defer { pcap_freecode(&program) }
        guard pcap_setfilter(handle, &program) == 0 else {
            throw CaptureError(operation: operation, message: String(cString: pcap_geterr(handle)))
        }
    }
}

/// Records an interface to a file on a thread of its own, until it is stopped.
///
/// It captures from the moment when the initializer returns, in the network namespace of the thread that calls it.
public final class CaptureRecorder {
    public struct Outcome: Sendable {
        public var path: String
        public var frames: UInt64
        public var statistics: LiveCapture.Statistics
    }

    private final class Shared: @unchecked Sendable {
        // Used by the recording thread alone, until it has been joined.
        let capture: LiveCapture
        let writer: CaptureWriter
        var frames: UInt64 = 0
        var failure: CaptureError?
        let isStopping = Atomic<Bool>(false)
        private static let lastRounds = 100

        init(_ capture: LiveCapture, _ writer: CaptureWriter) {
            self.capture = capture
            self.writer = writer
        }

        func record() {
            do throws(CaptureError) {
                while !isStopping.load(ordering: .acquiring) { try drain(waiting: 50) }
                // What the kernel still holds; traffic that does not end must not keep us.
                for _ in 0..<Shared.lastRounds where try drain(waiting: 5 * LiveCapture.deliveryMilliseconds) == 0 {
                    break
                }
                try writer.flush()
            } catch {
                failure = error
            }
        }

        /// Waits until something comes, but not longer than that; returns the number of frames recorded.
        @discardableResult
        private func drain(waiting milliseconds: Int32) throws(CaptureError) -> UInt64 {
            var wait = pollfd(fd: capture.descriptor, events: Int16(POLLIN), revents: 0)
            poll(&wait, 1, milliseconds)
            let before = frames
            while try capture.next({ self.write($0) }) != nil {}
            return frames - before
        }

        private func write(_ frame: CapturedFrame) {
            writer.write(frame.bytes, time: frame.time, originalLength: frame.originalLength)
            frames += 1
        }
    }

    private let shared: Shared
    private let path: String
    private var thread = pthread_t()
    private var outcome: Outcome?

    public init(interface: String, path: String, options: LiveCapture.Options) throws(CaptureError) {
        let capture = try LiveCapture(interface: interface, options: options)
        let writer = try CaptureWriter(path: path, link: capture.link)
        shared = Shared(capture, writer)
        self.path = path
        let context = Unmanaged.passRetained(shared)
        let code = pthread_create(
            &thread, nil,
            { context in
                Unmanaged<Shared>.fromOpaque(context!).takeRetainedValue().record()
                return nil
            }, context.toOpaque())
        guard code == 0 else {
            context.release()
            throw CaptureError(operation: "start a capturing thread", message: String(cString: strerror(code)))
        }
    }

    deinit { _ = try? stop() }

    /// Records what has arrived until now, then ends. Stopping again returns the same.
    @discardableResult
    public func stop() throws(CaptureError) -> Outcome {
        if let outcome { return outcome }
        shared.isStopping.store(true, ordering: .releasing)
        pthread_join(thread, nil)
        let outcome = Outcome(path: path, frames: shared.frames, statistics: shared.capture.statistics())
        self.outcome = outcome
        if let failure = shared.failure { throw failure }
        return outcome
    }
}
