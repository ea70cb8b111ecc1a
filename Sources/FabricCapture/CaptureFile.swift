internal import CFabricPcap
public import FabricCore

/// A capture that can't be opened, read or written: what, and libpcap's reason.
public struct CaptureError: Error, Hashable, Sendable, CustomStringConvertible {
    public var operation: String
    public var message: String

    public var description: String { "\(operation): \(message)" }
}

/// One captured frame, valid while the closure that received it runs.
public struct CapturedFrame {
    public let bytes: UnsafeRawBufferPointer
    public let time: WallTime
    /// The size on the wire; more than `bytes.count` when the capture cut it.
    public let originalLength: Int

    init(_ header: pcap_pkthdr, _ data: UnsafePointer<UInt8>) {
        bytes = UnsafeRawBufferPointer(start: data, count: Int(header.caplen))
        // With nanosecond precision libpcap puts nanoseconds where the field's name says microseconds.
        time = WallTime(nanoseconds: Int64(header.ts.tv_sec) &* 1_000_000_000 &+ Int64(header.ts.tv_usec))
        originalLength = Int(header.len)
    }
}

/// Reads a pcap or pcapng file, frame by frame.
public final class CaptureFile {
    public let path: String
    public let link: LinkType
    private let handle: OpaquePointer

    public init(path: String) throws(CaptureError) {
        self.path = path
        var message = [CChar](repeating: 0, count: Int(PCAP_ERRBUF_SIZE))
        let precision = UInt32(PCAP_TSTAMP_PRECISION_NANO)
        guard let handle = pcap_open_offline_with_tstamp_precision(path, precision, &message) else {
            throw CaptureError(operation: "open the capture \(path)", message: text(message))
        }
        guard let link = LinkType(number: pcap_datalink(handle)) else {
            let number = pcap_datalink(handle)
            pcap_close(handle)
            throw CaptureError(
                operation: "open the capture \(path)", message: "its link type \(number) is not supported")
        }
        self.handle = handle
        self.link = link
    }

    deinit { pcap_close(handle) }

    /// Hands the next frame to `body`; nil at the end of the file. A file that ends within a frame is an error.
    public func next<Value>(_ body: (CapturedFrame) -> Value) throws(CaptureError) -> Value? {
        var header: UnsafeMutablePointer<pcap_pkthdr>?
        var data: UnsafePointer<UInt8>?
        switch pcap_next_ex(handle, &header, &data) {
        case 1: return body(CapturedFrame(header!.pointee, data!))
        case PCAP_ERROR_BREAK: return nil
        default:
            throw CaptureError(operation: "read the capture \(path)", message: String(cString: pcap_geterr(handle)))
        }
    }
}

/// Writes a pcap file with nanosecond times.
public final class CaptureWriter {
    /// The largest frame.
    public static let maximumFrameBytes = 262_144

    private let handle: OpaquePointer
    private let dumper: OpaquePointer
    private let path: String

    public init(path: String, link: LinkType) throws(CaptureError) {
        self.path = path
        guard
            let handle = pcap_open_dead_with_tstamp_precision(
                link.number, Int32(CaptureWriter.maximumFrameBytes), UInt32(PCAP_TSTAMP_PRECISION_NANO))
        else { throw CaptureError(operation: "write the capture \(path)", message: "out of memory") }
        guard let dumper = pcap_dump_open(handle, path) else {
            let message = String(cString: pcap_geterr(handle))
            pcap_close(handle)
            throw CaptureError(operation: "write the capture \(path)", message: message)
        }
        self.handle = handle
        self.dumper = dumper
    }

    deinit {
        pcap_dump_close(dumper)
        pcap_close(handle)
    }

    /// Appends a frame; what goes beyond `maximumFrameBytes` is cut.
    public func write(_ frame: UnsafeRawBufferPointer, time: WallTime, originalLength: Int? = nil) {
        var header = pcap_pkthdr()
        let seconds = time.seconds
        header.ts.tv_sec = Int(seconds)
        header.ts.tv_usec = Int(time.nanoseconds - seconds * 1_000_000_000)
        header.caplen = UInt32(min(frame.count, CaptureWriter.maximumFrameBytes))
        header.len = UInt32(clamping: originalLength ?? frame.count)
        guard let base = frame.baseAddress else { return }
        pcap_dump(
            UnsafeMutableRawPointer(dumper).assumingMemoryBound(to: UInt8.self), &header,
            base.assumingMemoryBound(to: UInt8.self))
    }

    /// Hands what was written to the file. Errors of the disk show here.
    public func flush() throws(CaptureError) {
        guard pcap_dump_flush(dumper) == 0 else {
            throw CaptureError(operation: "write the capture \(path)", message: "the disk refused it")
        }
    }
}

func text(_ buffer: [CChar]) -> String {
    String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
