public import FabricCore

/// A host of the simulated world: dense, from 0, in the order of `World.addHost`.
public struct HostID: Hashable, Comparable, Sendable, CustomStringConvertible {
    public let index: Int

    @inlinable public init(index: Int) { self.index = index }
    @inlinable public static func < (a: HostID, b: HostID) -> Bool { a.index < b.index }
    public var description: String { "host \(index)" }
}

/// A place (a site, a region) of the simulated world: dense, from 0, in the order of `VirtualNetwork.addPlace`.
public struct PlaceID: Hashable, Comparable, Sendable, CustomStringConvertible {
    public let index: Int

    @inlinable public init(index: Int) { self.index = index }
    @inlinable public static func < (a: PlaceID, b: PlaceID) -> Bool { a.index < b.index }
    public var description: String { "place \(index)" }
}

/// What runs on a virtual host: the simulator's shell around deciding code. It is called by the world alone, one call at
/// a time, and acts through the world's methods (`send`, `setDeadline`, `connect`, `persist` …) with its own `HostID`.
public protocol SimulatedHost: AnyObject {
    /// A fresh start: memory is empty, only the disk remains. Random streams of the world now belong to the new boot.
    func boot(_ now: Now)
    /// The host has stopped. Everything in memory is to be forgotten; nothing may be sent.
    func crashed()
    func handle(_ event: HostEvent, now: Now)
}

/// What the world tells a running host.
public enum HostEvent {
    /// The deadline given to `setDeadline` has come; it is used up.
    case wake
    /// A UDP datagram, with the mark that it arrived with. The bytes are valid during the call only.
    case datagram(source: Endpoint, destination: Endpoint, bytes: UnsafeRawBufferPointer, ecn: ECN)
    case stream(StreamID, StreamEvent)
    /// A `persist` or `removeDurable` ended: durable when `failure` is nil, otherwise unchanged.
    case persisted(operation: UInt64, failure: DiskError?)
    /// A one-off timer set by `setTimer`.
    case timer(token: UInt64)
}

/// How a host stops.
public enum CrashKind: Hashable, Sendable {
    /// The process dies, the kernel lives: the page cache survives and peers' connections are reset at once.
    case process
    /// The power fails: what was not synced is lost, and peers learn nothing until they send.
    case power
}
